//! The administrators' calls: the ledger, its decisions, rows with their history, clients and tables.
//!
//! Nothing here answers without the administrators' own token.

use actix_web::web::{self, Data, Path, Payload, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use colsync_shared::{ClientId, Time};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

use super::App;
use super::exchange::{key, read, submit_one, table};
use super::headers::{Caller, administrator};
use super::problem::Problem;
use super::rows::shown;
use super::write::document;
use crate::edges;
use crate::store::internal::{self, ClientRow};
use crate::store::ledger::{self, ConflictFilter, ConflictRow};
use crate::sync::submission::{Decision, Identity, Item};

const DEFAULT_PAGE: i64 = 100;
const LARGEST_PAGE: i64 = 1_000;

pub(super) fn routes(service: &mut ServiceConfig) {
    service
        .service(web::resource("/conflicts").route(web::get().to(conflicts)))
        .service(web::resource("/conflicts/{id}").route(web::get().to(conflict)))
        .service(web::resource("/conflicts/{id}/resolve").route(web::post().to(resolve)))
        .service(web::resource("/rows/{table}/{id}").route(web::get().to(row)))
        .service(web::resource("/clients").route(web::get().to(clients)))
        .service(web::resource("/tables").route(web::get().to(tables)));
}

#[derive(Debug, Deserialize)]
struct Filter {
    table: Option<String>,
    row: Option<String>,
    column: Option<String>,
    client: Option<String>,
    state: Option<String>,
    since: Option<String>,
    limit: Option<String>,
    after: Option<String>,
}

impl Filter {
    fn read(self) -> Result<ConflictFilter, Problem> {
        let invalid = |field: &str, detail: &str| {
            Problem::bad_request("invalid_parameter", detail).field(field)
        };
        // Neither a name nor an id has NUL in it, and not every database can be asked for it.
        for (field, text) in [
            ("table", &self.table),
            ("row", &self.row),
            ("column", &self.column),
        ] {
            if text.as_deref().is_some_and(|text| text.contains('\0')) {
                return Err(invalid(field, "text may not contain NUL"));
            }
        }
        let client = self.client.map(|text| text.parse::<ClientId>()).transpose();
        let since = self.since.map(|text| text.parse::<Time>()).transpose();
        let after = self.after.map(|text| Uuid::parse_str(&text)).transpose();
        if let Some(state) = self.state.as_deref()
            && !["open", "decided", "resolved"].contains(&state)
        {
            return Err(invalid("state", "state is open, decided or resolved"));
        }
        let limit = match self.limit {
            None => DEFAULT_PAGE,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=LARGEST_PAGE).contains(limit))
                .ok_or_else(|| invalid("limit", "limit must be a number from 1 to 1000"))?,
        };
        Ok(ConflictFilter {
            table: self.table,
            row: self.row,
            column: self.column,
            client: client
                .map_err(|_refused| invalid("client", "client is a UUID"))?
                .map(|id| id.to_string()),
            state: self.state,
            since: since
                .map_err(|_refused| invalid("since", "since is an RFC 3339 time"))?
                .map(Time::micros),
            after: after
                .map_err(|_refused| invalid("after", "after is a conflict's id"))?
                .map(|id| id.to_string()),
            limit,
        })
    }
}

async fn conflicts(
    app: Data<App>,
    request: HttpRequest,
    filter: Query<Filter>,
) -> Result<HttpResponse, Problem> {
    administrator(&request, &app.config)?;
    let filter = filter.into_inner().read()?;
    let limit = filter.limit;
    let (found, clients) = read(&app, move |conn| {
        Ok((ledger::conflicts(conn, &filter)?, internal::clients(conn)?))
    })
    .await?;
    let full = i64::try_from(found.len()) == Ok(limit);
    let next = found
        .last()
        .filter(|_| full)
        .map(|conflict| conflict.id.clone());
    let conflicts: Vec<Json> = found
        .iter()
        .map(|conflict| show_conflict(conflict, &clients))
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "conflicts": conflicts, "next": next })))
}

async fn conflict(
    app: Data<App>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    administrator(&request, &app.config)?;
    let shown = find_conflict(&app, conflict_id(&id)?).await?;
    Ok(HttpResponse::Ok().json(shown))
}

async fn find_conflict(app: &Data<App>, id: Uuid) -> Result<Json, Problem> {
    let (found, clients) = read(app, move |conn| {
        Ok((ledger::conflict(conn, id)?, internal::clients(conn)?))
    })
    .await?;
    let found =
        found.ok_or_else(|| Problem::not_found("conflict_not_found", "no such conflict"))?;
    Ok(show_conflict(&found, &clients))
}

async fn resolve(
    app: Data<App>,
    request: HttpRequest,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let arrived = edges::now();
    administrator(&request, &app.config)?;
    let id = conflict_id(&id)?;
    let (_bytes, body) = document(&app, &request, payload).await?;
    let decision = decision(&body)?;
    let caller = Caller::administrator(arrived);
    let name = decision.name();
    let receipt = submit_one(
        &app,
        &caller,
        Identity::Bare,
        Item::Resolve {
            conflict: id,
            decision,
        },
    )
    .await?;
    log::info!("conflict {id} resolved by an administrator: {name}");
    let conflict = find_conflict(&app, id).await?;
    Ok(HttpResponse::Ok().json(json!({ "conflict": conflict, "receipt": receipt })))
}

fn decision(body: &Json) -> Result<Decision, Problem> {
    let malformed =
        |detail: &str| Problem::bad_request("invalid_parameter", detail).field("decision");
    match body.get("decision").and_then(Json::as_str) {
        Some("keep") => Ok(Decision::Keep),
        Some("take_lost") => Ok(Decision::TakeLost),
        Some("value") => match body.get("value") {
            Some(value) => Ok(Decision::Value(value.clone())),
            None => Err(
                Problem::bad_request("invalid_parameter", "this decision needs a value")
                    .field("value"),
            ),
        },
        _ => Err(malformed("decision is keep, take_lost or value")),
    }
}

async fn row(
    app: Data<App>,
    request: HttpRequest,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    administrator(&request, &app.config)?;
    let (name, id) = path.into_inner();
    let table = table(&app, &name)?;
    let key = key(&table, &id)?;
    let filter = ConflictFilter {
        table: Some(name),
        row: Some(key.to_string()),
        limit: LARGEST_PAGE,
        ..ConflictFilter::default()
    };
    let wanted = table.clone();
    let (found, conflicts, clients) = read(&app, move |conn| {
        let row = conn.read_row(&wanted, &key)?;
        Ok((
            row,
            ledger::conflicts(conn, &filter)?,
            internal::clients(conn)?,
        ))
    })
    .await?;
    if found.is_none() && conflicts.is_empty() {
        return Err(Problem::not_found("row_not_found", "no such row"));
    }
    let conflicts: Vec<Json> = conflicts
        .iter()
        .map(|conflict| show_conflict(conflict, &clients))
        .collect();
    let row = found.map(|row| shown(&table, &row, true));
    Ok(HttpResponse::Ok().json(json!({ "row": row, "conflicts": conflicts })))
}

async fn clients(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    administrator(&request, &app.config)?;
    let (clients, conflicts) = read(&app, |conn| {
        Ok((internal::clients(conn)?, ledger::conflicts_by_client(conn)?))
    })
    .await?;
    let shown = clients
        .iter()
        .map(|client| show_client(client, conflicts.get(&client.id).copied().unwrap_or(0)));
    Ok(HttpResponse::Ok().json(json!({ "clients": shown.collect::<Vec<Json>>() })))
}

async fn tables(app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    administrator(&request, &app.config)?;
    let schema = app.store.schema();
    let counted = schema.clone();
    let counts = read(&app, move |conn| {
        counted
            .tables
            .iter()
            .map(|table| conn.counts(table))
            .collect::<Result<Vec<_>, _>>()
    })
    .await?;
    let tables: Vec<Json> = schema
        .tables
        .iter()
        .zip(counts)
        .map(|(table, counts)| {
            let mut described = super::schema::describe(table);
            if let Some(members) = described.as_object_mut() {
                members.insert("rows".to_owned(), counts.alive.into());
                members.insert("deleted".to_owned(), counts.deleted.into());
                members.insert("tombstones".to_owned(), counts.tombstones.into());
            }
            described
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({ "tables": tables })))
}

fn conflict_id(text: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(text)
        .map_err(|_refused| Problem::not_found("conflict_not_found", "no such conflict"))
}

fn show_conflict(conflict: &ConflictRow, clients: &[ClientRow]) -> Json {
    let parse = |text: &Option<String>| -> Json {
        text.as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or(Json::Null)
    };
    let side = |value: &Option<String>, time: Option<i64>, client: &Option<String>| json!({ "value": parse(value), "at": time.map(Time::from_micros), "client": show_writer(client.as_deref(), clients) });
    let mut shown = Map::new();
    let mut add = |name: &str, value: Json| shown.insert(name.to_owned(), value);
    add("id", json!(conflict.id));
    add("table", json!(conflict.table_name));
    add("row", json!(conflict.row_id));
    add("column", json!(conflict.column_name));
    add("kind", json!(conflict.kind));
    add("policy", json!(conflict.policy));
    add("state", json!(conflict.state));
    add("version", json!(conflict.version));
    add("created_at", json!(Time::from_micros(conflict.created_at)));
    add("skew_us", json!(conflict.skew));
    add("base", parse(&conflict.base));
    add(
        "kept",
        side(&conflict.kept, conflict.kept_time, &conflict.kept_client),
    );
    add(
        "lost",
        side(&conflict.lost, conflict.lost_time, &conflict.lost_client),
    );
    add("decision", json!(conflict.decision));
    add(
        "decided_at",
        json!(conflict.decided_at.map(Time::from_micros)),
    );
    add("decided_value", parse(&conflict.decided_value));
    Json::Object(shown)
}

/// A stamp's client with what is known of it.
fn show_writer(client: Option<&str>, clients: &[ClientRow]) -> Json {
    let Some(id) = client else { return Json::Null };
    let reserved = id
        .parse::<ClientId>()
        .ok()
        .and_then(ClientId::reserved_name);
    let known = clients.iter().find(|known| known.id == id);
    json!({
        "id": id,
        "name": reserved.map(str::to_owned).or_else(|| known.and_then(|known| known.name.clone())),
        "principal": known.map(|known| &known.principal),
        "skew_us": known.and_then(|known| known.skew),
    })
}

fn show_client(client: &ClientRow, conflicts: i64) -> Json {
    json!({
        "id": client.id,
        "principal": client.principal,
        "name": client.name,
        "first_seen": Time::from_micros(client.first_seen),
        "last_seen": Time::from_micros(client.last_seen),
        "skew_us": client.skew,
        "last_push": client.last_push,
        "pushes": client.pushes,
        "conflicts": conflicts,
        "pulled_at": client.pulled_at.map(Time::from_micros),
    })
}
