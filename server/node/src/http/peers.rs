//! What other members hear. The port is bound so that a second member that is started by mistake is told why it is alone.

use crate::http::Answer;
use crate::http::body::Body;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

const REFUSAL: &str = "{\"message\":\"clusters of more than one member are not supported yet\"}\n";

pub(crate) fn refuse() -> Answer {
    let mut answer = Answer::new(Body::Full(Bytes::from_static(REFUSAL.as_bytes())));
    *answer.status_mut() = StatusCode::NOT_IMPLEMENTED;
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}
