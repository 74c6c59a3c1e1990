use natterjack_wire::ErrorCode;
use reqwest::{RequestBuilder, header};
use serde_json::Value;

/// Sends a request that has to be refused. Fails the test unless the answer is a problem in the form that all of them
/// have, its status, title and `Retry-After` among it; gives its code.
pub async fn refused(request: RequestBuilder) -> ErrorCode {
    let response = request.send().await.expect("the front answers");
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.expect("the answer has a body");
    let problem: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}, not JSON: {text}"));
    let code = ErrorCode::ALL.iter().copied().find(|code| problem["code"] == code.number());
    let code = code.unwrap_or_else(|| panic!("{status}, no problem: {problem}"));
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!(header(header::CONTENT_TYPE), Some("application/problem+json"), "{problem}");
    assert_eq!(status.as_u16(), code.status(), "{problem}");
    assert_eq!(problem["status"], code.status(), "{problem}");
    assert_eq!(problem["title"], code.title(), "{problem}");
    assert_eq!(problem["type"], format!("urn:natterjack:error:{}", code.name()), "{problem}");
    let retry_secs = problem["retry_ms"].as_u64().map(|ms| ms.div_ceil(1_000).to_string());
    assert_eq!(header(header::RETRY_AFTER), retry_secs.as_deref(), "{problem}");
    assert_eq!(retry_secs.is_some(), code.is_transient(), "{problem}");
    assert_ne!(retry_secs.as_deref(), Some("0"), "{problem}");
    code
}
