//! Names of methods and notifications, revisions 2025-03-26 to 2026-07-28.

/// Requests.
pub mod method {
    /// Client to server: opens a session.
    pub const INITIALIZE: &str = "initialize";
    /// Either way.
    pub const PING: &str = "ping";
    /// Client to server.
    pub const TOOLS_LIST: &str = "tools/list";
    /// Client to server.
    pub const TOOLS_CALL: &str = "tools/call";
    /// Client to server.
    pub const RESOURCES_LIST: &str = "resources/list";
    /// Client to server.
    pub const RESOURCES_TEMPLATES_LIST: &str = "resources/templates/list";
    /// Client to server.
    pub const RESOURCES_READ: &str = "resources/read";
    /// Client to server.
    pub const RESOURCES_SUBSCRIBE: &str = "resources/subscribe";
    /// Client to server.
    pub const RESOURCES_UNSUBSCRIBE: &str = "resources/unsubscribe";
    /// Client to server.
    pub const PROMPTS_LIST: &str = "prompts/list";
    /// Client to server.
    pub const PROMPTS_GET: &str = "prompts/get";
    /// Client to server.
    pub const COMPLETION_COMPLETE: &str = "completion/complete";
    /// Client to server.
    pub const LOGGING_SET_LEVEL: &str = "logging/setLevel";
    /// Server to client.
    pub const SAMPLING_CREATE_MESSAGE: &str = "sampling/createMessage";
    /// Server to client.
    pub const ELICITATION_CREATE: &str = "elicitation/create";
    /// Server to client.
    pub const ROOTS_LIST: &str = "roots/list";
    /// Client to server (2026-07-28): what the server is and can do.
    pub const SERVER_DISCOVER: &str = "server/discover";
    /// Client to server (2026-07-28): a stream of notifications.
    pub const SUBSCRIPTIONS_LISTEN: &str = "subscriptions/listen";
    /// Client to server (tasks extension).
    pub const TASKS_GET: &str = "tasks/get";
    /// Client to server (tasks extension): answers to a task's questions.
    pub const TASKS_UPDATE: &str = "tasks/update";
    /// Client to server (tasks extension).
    pub const TASKS_CANCEL: &str = "tasks/cancel";
}

/// Notifications from a server, and those that go either way.
pub mod notification {
    /// Either way: a request is no longer wanted.
    pub const CANCELLED: &str = "notifications/cancelled";
    /// Either way.
    pub const PROGRESS: &str = "notifications/progress";
    /// Server to client: a log message.
    pub const MESSAGE: &str = "notifications/message";
    /// Server to client.
    pub const TOOLS_LIST_CHANGED: &str = "notifications/tools/list_changed";
    /// Server to client.
    pub const PROMPTS_LIST_CHANGED: &str = "notifications/prompts/list_changed";
    /// Server to client.
    pub const RESOURCES_LIST_CHANGED: &str = "notifications/resources/list_changed";
    /// Server to client.
    pub const RESOURCES_UPDATED: &str = "notifications/resources/updated";
    /// Server to client (2025-11-25): a URL elicitation is done.
    pub const ELICITATION_COMPLETE: &str = "notifications/elicitation/complete";
    /// Server to client (2026-07-28): what of a `subscriptions/listen` is honoured.
    pub const SUBSCRIPTIONS_ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
    /// Server to client (tasks extension): a task's state.
    pub const TASKS: &str = "notifications/tasks";
    /// Server to client (2025-11-25, experimental tasks).
    pub const TASKS_STATUS: &str = "notifications/tasks/status";
}

/// Notifications from a client only.
pub mod client_notification {
    /// The handshake is done.
    pub const INITIALIZED: &str = "notifications/initialized";
    /// The client's roots changed.
    pub const ROOTS_LIST_CHANGED: &str = "notifications/roots/list_changed";
}

/// Whether a method's complete result says how long it may be kept (2026-07-28, Caching, Cacheable Results).
pub fn is_cacheable(name: &str) -> bool {
    matches!(name, method::SERVER_DISCOVER | method::RESOURCES_READ) || ListKind::of_method(name).is_some()
}

/// The four lists that a server keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListKind {
    /// `tools/list`.
    Tools,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    ResourceTemplates,
    /// `prompts/list`.
    Prompts,
}

impl ListKind {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Resources, Self::ResourceTemplates, Self::Prompts];

    /// The list that a method asks for.
    pub fn of_method(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.method() == name)
    }

    /// The method that asks for it.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Tools => method::TOOLS_LIST,
            Self::Resources => method::RESOURCES_LIST,
            Self::ResourceTemplates => method::RESOURCES_TEMPLATES_LIST,
            Self::Prompts => method::PROMPTS_LIST,
        }
    }

    /// The member of the result that holds the entries.
    pub const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resourceTemplates",
            Self::Prompts => "prompts",
        }
    }

    /// The server capability it belongs to.
    pub const fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources | Self::ResourceTemplates => "resources",
            Self::Prompts => "prompts",
        }
    }

    /// The member of an entry that identifies it.
    pub const fn entry_key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::ResourceTemplates => "uriTemplate",
        }
    }
}
