//! Notifications.

use crate::frame::Notification;
use crate::revision::Revision;

/// A notification; `None` if the client's revision has no such thing.
pub fn notification(notification: Notification, _from: Revision, _to: Revision) -> Option<Notification> {
    Some(notification)
}
