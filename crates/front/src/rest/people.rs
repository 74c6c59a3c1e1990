//! People.

use axum::{Json as Body, extract::State};
use natterjack_readmodel::{Page, people};
use natterjack_wire::{
    ErrorCode,
    rest::{Person, PersonList},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::extract::{Caller, PersonPath, Query};
use super::problems::Problems;
use crate::{fault::Fault, store::Store};

/// Who I am.
#[utoipa::path(get, path = "/v1/me", tag = "people",
    responses((status = 200, body = Person), Problems))]
pub async fn me(caller: Caller) -> Body<Person> {
    Body(Person { id: caller.user, username: caller.username })
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Search {
    /// Beginning of the user name; everybody when empty.
    #[serde(default)]
    q: String,
    cursor: Option<String>,
    /// 1–200, 50 when missing.
    limit: Option<u32>,
}

/// People by the beginning of their user name, in its order.
#[utoipa::path(get, path = "/v1/users", tag = "people", params(Search),
    responses((status = 200, body = PersonList), Problems))]
pub async fn search(
    State(store): State<Store>,
    _caller: Caller,
    Query(search): Query<Search>,
) -> Result<Body<PersonList>, Fault> {
    let page = Page { cursor: search.cursor.as_deref(), limit: search.limit };
    Ok(Body(store.query(async |c| people::people(&c, &search.q, page).await).await?))
}

/// One person.
#[utoipa::path(get, path = "/v1/users/{user}", tag = "people", params(("user" = uuid::Uuid, Path)),
    responses((status = 200, body = Person), Problems))]
pub async fn person(
    State(store): State<Store>,
    _caller: Caller,
    PersonPath(user): PersonPath,
) -> Result<Body<Person>, Fault> {
    let person = store.query(async |c| people::person(&c, user).await).await?;
    Ok(Body(person.ok_or(ErrorCode::UserNotFound)?))
}
