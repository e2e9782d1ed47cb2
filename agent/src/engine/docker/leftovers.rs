//! Every workspace of which an engine has anything, be it only the volume.

use std::collections::{BTreeSet, HashMap};

use bollard::query_parameters::ListVolumesOptionsBuilder;
use domain::ids::WorkspaceId;

use super::{DockerEngine, refused};
use crate::engine::{Engine as _, EngineError};

pub(super) async fn of(engine: &DockerEngine) -> Result<BTreeSet<WorkspaceId>, EngineError> {
    let listed = engine.list().await?;
    let mut found: BTreeSet<WorkspaceId> =
        listed.into_iter().map(|found| found.workspace).collect();
    let filters = own(engine);
    let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
    let listed = engine.client().await?.list_volumes(Some(options)).await.map_err(refused)?;
    let volumes = listed.volumes.unwrap_or_default();
    let of_volumes = volumes
        .iter()
        .filter_map(|volume| volume.labels.get("sam.workspace")?.parse::<WorkspaceId>().ok());
    found.extend(of_volumes);
    Ok(found)
}

/// What picks those of one node of one installation.
pub(super) fn own(engine: &DockerEngine) -> HashMap<String, Vec<String>> {
    let labels = vec![
        format!("sam.installation={}", engine.installation),
        format!("sam.node={}", engine.node),
    ];
    HashMap::from([("label".to_string(), labels)])
}
