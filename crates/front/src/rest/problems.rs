use natterjack_wire::Problem;
use utoipa::IntoResponses;

/// What every request may be answered instead.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers, makes none")]
pub enum Problems {
    /// The request cannot be met as it is.
    #[response(status = "4XX", content_type = "application/problem+json")]
    Request(Problem),
    /// The server cannot meet the request, perhaps for the moment.
    #[response(status = "5XX", content_type = "application/problem+json")]
    Server(Problem),
}
