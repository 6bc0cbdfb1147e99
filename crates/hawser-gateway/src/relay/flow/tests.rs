//! Both sides over a channel that loses, doubles and reorders.
