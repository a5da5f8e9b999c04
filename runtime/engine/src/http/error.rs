//! Refusals as HTTP answers: the only place that chooses status codes.

use axum::body::Body;
use berth_exec::ExecError;
use berth_images::{ImageError, ImageErrorKind};
use berth_wire::docker::ErrorBody;
use http::{HeaderValue, Response, StatusCode, header};

use crate::error::{Failure, LaunchFailureKind};

/// The answer that a failure becomes. The content type must be exactly this one: the CLI compares it as text.
pub(crate) fn response(failure: &Failure) -> Response<Body> {
    let status = status(failure);
    if status.is_server_error() {
        tracing::warn!(%status, error = %failure, "request failed");
    }
    if let Failure::TooOld(_) = failure {
        return plain(status, failure.to_string());
    }
    let body = serde_json::to_vec(&ErrorBody {
        message: failure.to_string(),
    })
    .unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn status(failure: &Failure) -> StatusCode {
    match failure {
        Failure::Rename(reason) => status(reason),
        Failure::NoSuchContainer(_)
        | Failure::KillNobody(_)
        | Failure::NoSuchImage(_)
        | Failure::NoSuchExec(_)
        | Failure::NoSuchVolume(_)
        | Failure::NoSuchThing(_)
        | Failure::NoSuchPage => StatusCode::NOT_FOUND,
        Failure::AmbiguousContainer { .. }
        | Failure::BadName(_)
        | Failure::NoSuchOther(_)
        | Failure::NoBindSource(_)
        | Failure::NotADirectory
        | Failure::SameName
        | Failure::DigestAsName
        | Failure::BadSignal(_)
        | Failure::NoStream
        | Failure::SeveralUntil
        | Failure::BadParameter { .. }
        | Failure::Filter(_)
        | Failure::View(_)
        | Failure::ContentType(_)
        | Failure::Json(_)
        | Failure::Body(_)
        | Failure::TooNew(_)
        | Failure::TooOld(_)
        | Failure::EmptyConfig
        | Failure::StartWithBody
        | Failure::NoUpgrade
        | Failure::BadDetachKeys(_)
        | Failure::Plan(_) => StatusCode::BAD_REQUEST,
        Failure::ReadOnly(_) => StatusCode::FORBIDDEN,
        Failure::BodyTooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Failure::NameTaken { .. }
        | Failure::VolumeInUse { .. }
        | Failure::NotRunning { .. }
        | Failure::ContainerNotRunning { .. }
        | Failure::ExecBegun { .. }
        | Failure::ExecNotRunning(_)
        | Failure::Exec(ExecError::NotRunning { .. } | ExecError::NoTerminal { .. })
        | Failure::StillRunning { .. }
        | Failure::StillPaused { .. }
        | Failure::AlreadyPaused { .. }
        | Failure::ContainerPaused { .. }
        | Failure::BeingRemoved { .. } => StatusCode::CONFLICT,
        Failure::Unsupported(_) | Failure::LogNotKept => StatusCode::NOT_IMPLEMENTED,
        Failure::Image(error) => image_status(error),
        Failure::Network(error) => super::networks::status(error),
        Failure::Launch(failure) => match failure.kind {
            LaunchFailureKind::CommandNotFound
            | LaunchFailureKind::CommandNotExecutable
            | LaunchFailureKind::BadRequest => StatusCode::BAD_REQUEST,
            LaunchFailureKind::Conflict => StatusCode::CONFLICT,
            LaunchFailureKind::Host => StatusCode::INTERNAL_SERVER_ERROR,
        },
        Failure::Volume { .. }
        | Failure::NotPaused { .. }
        | Failure::FreezeFailed { .. }
        | Failure::EraseFailed { .. }
        | Failure::Exec(_)
        | Failure::Record(_)
        | Failure::Io(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Failure::Stopping | Failure::TooManyAttached(_) | Failure::TooManyExecs(_) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

fn image_status(error: &ImageError) -> StatusCode {
    match error.kind() {
        ImageErrorKind::NotFound => StatusCode::NOT_FOUND,
        ImageErrorKind::BadRequest => StatusCode::BAD_REQUEST,
        ImageErrorKind::Conflict => StatusCode::CONFLICT,
        ImageErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
