//! Why everything is listed anew, in the words of the log and the metrics.

/// Why a list has to be fetched (again).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relist {
    Start,
    Expired,
    ListExpired,
    OutOfOrder,
    WatchError,
    Restored,
    Labels,
    Unreadable,
}

impl Relist {
    /// All of them.
    pub(super) const ALL: [Self; 8] = [
        Self::Start,
        Self::Expired,
        Self::ListExpired,
        Self::OutOfOrder,
        Self::WatchError,
        Self::Restored,
        Self::Labels,
        Self::Unreadable,
    ];

    /// Its name in the metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Expired => "expired",
            Self::ListExpired => "list_expired",
            Self::OutOfOrder => "out_of_order",
            Self::WatchError => "watch_error",
            Self::Restored => "restored",
            Self::Labels => "labels",
            Self::Unreadable => "unreadable",
        }
    }

    /// The same for a person, in the log and in health.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Expired => "the watch's version has expired (410 Gone)",
            Self::ListExpired => "the list expired between two of its pages (410 Gone)",
            Self::OutOfOrder => "events came out of order",
            Self::WatchError => "the watch reported an error",
            Self::Restored => "the cluster went back to an older state",
            Self::Labels => "labels are wanted that weren't read before",
            Self::Unreadable => "an object couldn't be read before",
        }
    }
}
