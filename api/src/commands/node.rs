//! Giving a machine back.

use actix_web::{HttpResponse, post, web::Data};
use domain::{ids::NodeId, node::NodeCommand};

use crate::{
    access,
    caller::{Caller, Id},
    problem::Problem,
    server::Server,
    wire::Accepted,
};

/// Stops an empty machine.
#[utoipa::path(responses((status = ACCEPTED, body = Accepted)))]
#[post("/nodes/{node}/stop")]
pub(crate) async fn stop(
    caller: Caller,
    id: Id,
    server: Data<Server>,
) -> Result<HttpResponse, Problem> {
    server.settled().await;
    let id = access::node(&server, &caller, NodeId(id.0)).await?.id;
    let command = (id, NodeCommand::Stop { reason: "stopped by its owner".to_owned() });
    let position = server.system().dispatcher.send(&caller.person(), command, Vec::new()).await?;
    Ok(HttpResponse::Accepted().json(Accepted::at(position)))
}
