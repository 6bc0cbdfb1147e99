//! Notifications.

use crate::frame::Notification;
use crate::listen::without_subscription_id;
use crate::names::notification;
use crate::revision::{Era, Revision};

/// A notification of a server of revision `from`, for a client of revision `to`; `None` if the client's revision has no such
/// thing.
pub fn notification(notification: Notification, from: Revision, to: Revision) -> Option<Notification> {
    let known = match notification.method.as_str() {
        // A stream's opening and a task's state are between the gateway and the backend when the client has neither.
        notification::SUBSCRIPTIONS_ACKNOWLEDGED | notification::TASKS => to.is_modern(),
        // 2025-11-25 alone knows that a URL elicitation is done, and tasks of the experimental kind.
        notification::ELICITATION_COMPLETE => to == Revision::V2025_11_25,
        notification::TASKS_STATUS => to.is_legacy(),
        // A legacy server calls off a question of its own; a modern client has none that is open.
        notification::CANCELLED => from.is_legacy() == to.is_legacy(),
        _ => true,
    };
    known.then_some(match (from.era(), to.era()) {
        (Era::Modern, Era::Legacy) => without_subscription_id(&notification),
        _ => notification,
    })
}
