use natterjack_database::Error as DatabaseError;

/// Why nothing became of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked or sent cannot be accepted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the files cannot be stored or read")]
    Storage(#[source] object_store::Error),
    #[error("an upload cannot be put together")]
    Scratch(#[from] std::io::Error),
    #[error("the table of uploads cannot be used")]
    Database(#[source] DatabaseError),
}

/// What the sender did wrong, or has to know. Each has its own error code in the front.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no such attachment")]
    NotFound,
    #[error("it has no bytes")]
    Empty,
    #[error("{length} bytes are more than the {max} that {what} may have")]
    TooLarge { what: &'static str, length: u64, max: u64 },
    #[error("files of the type {0} are not accepted")]
    Type(String),
    #[error("it was said to be {declared} and is {found}")]
    Mismatch { declared: String, found: String },
    /// It ends too early, or is not what it begins like.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    #[error("{width} × {height} pixels are more than {max}")]
    Pixels { width: u32, height: u32, max: u64 },
    #[error("{used} bytes of {quota} are in use")]
    Quota { used: u64, quota: u64 },
    #[error("{0} uploads are under way already")]
    Open(u32),
    #[error("the upload is at {0}")]
    Offset(u64),
    /// Somebody else is writing to it.
    #[error("another request is writing to the upload")]
    Locked,
    /// Nothing came for too long, or the request took too long.
    #[error("the bytes came too slowly; {0} were had")]
    Slow(u64),
    #[error("the body ended early; {0} bytes were had")]
    Aborted(u64),
    /// This front is shutting down.
    #[error("{0} bytes were had")]
    Cut(u64),
    #[error("too many uploads at once")]
    Busy,
    #[error("not all of it has come yet")]
    Unfinished,
    /// Made by somebody else, or for another room.
    #[error("{0} was not uploaded by you for this room")]
    Foreign(natterjack_domain::AttachmentId),
}

impl Refusal {
    /// For metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Empty => "empty",
            Self::TooLarge { .. } => "too_large",
            Self::Type(_) => "type",
            Self::Mismatch { .. } => "mismatch",
            Self::Damaged(_) => "damaged",
            Self::Pixels { .. } => "pixels",
            Self::Quota { .. } => "quota",
            Self::Open(_) => "open",
            Self::Offset(_) => "offset",
            Self::Locked => "locked",
            Self::Slow(_) => "slow",
            Self::Aborted(_) => "aborted",
            Self::Cut(_) => "cut",
            Self::Busy => "busy",
            Self::Unfinished => "unfinished",
            Self::Foreign(_) => "foreign",
        }
    }
}

impl From<DatabaseError> for Error {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error)
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

impl From<object_store::Error> for Error {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::Refused(Refusal::NotFound),
            error => Self::Storage(error),
        }
    }
}
