//! An image with the holder in it, made once of each base image.
//!
//! Copying the holder into every container instead took the engine longer than anything but starting it.
//! The furnished image is known by a tag that follows from the base image and from the holder, so a new one of
//! either makes a new image; those of an older base are removed when nothing uses them. The engine's
//! own builder makes it in one call: a kill in between leaves nothing that would be taken for it.
//!
//! The volume takes its owner from the directory in the image that it is mounted on.

use std::collections::HashMap;

use bollard::{
    Docker,
    query_parameters::{BuildImageOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions},
};
use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};

use super::{USER_ID, refused, status};
use crate::engine::EngineError;

const REPOSITORY: &str = "sam-workspace";
/// The name of the base image that a furnished one was made of, and its id.
const BASE_LABEL: &str = "sam.base";
const BASE_ID_LABEL: &str = "sam.base_id";

/// The holder's binary with its digest, which is needed for every container.
pub(super) struct Holder {
    binary: &'static [u8],
    digest: Vec<u8>,
}

impl Holder {
    pub(super) fn new(binary: &'static [u8]) -> Self {
        Self { binary, digest: Sha256::digest(binary).to_vec() }
    }
}

/// The image to make containers of, made if it is not there. `known` was seen or made before.
pub(super) async fn of(
    docker: &Docker,
    holder: &Holder,
    base: &str,
    known: Option<&str>,
) -> Result<String, EngineError> {
    let missing = || EngineError::ImageMissing { image: base.to_string() };
    let base_id = match docker.inspect_image(base).await {
        Ok(image) => image.id.ok_or_else(missing)?,
        Err(error) if status(&error) == Some(404) => return Err(missing()),
        Err(error) => return Err(refused(error)),
    };
    let recipe = recipe(&base_id);
    let furnished = tag(holder, &recipe);
    if known == Some(&furnished) {
        return Ok(furnished);
    }
    match docker.inspect_image(&furnished).await {
        Ok(_) => return Ok(furnished),
        Err(error) if status(&error) == Some(404) => {}
        Err(error) => return Err(refused(error)),
    }
    build(
        docker,
        holder.binary,
        &recipe,
        &furnished,
        [(BASE_LABEL, base), (BASE_ID_LABEL, &base_id)],
    )
    .await?;
    remove_outdated(docker, base, &base_id).await;
    Ok(furnished)
}

fn recipe(base_id: &str) -> String {
    format!(
        "FROM {base_id}\n\
         COPY root/ /\n\
         COPY --chown={USER_ID}:{USER_ID} state/ /.sam/\n\
         COPY --chown={USER_ID}:{USER_ID} workspace/ /workspace/\n"
    )
}

fn tag(holder: &Holder, recipe: &str) -> String {
    let digest = Sha256::new().chain_update(recipe).chain_update(&holder.digest).finalize();
    let digest: String = digest[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{REPOSITORY}:{digest}")
}

async fn build(
    docker: &Docker,
    holder: &[u8],
    recipe: &str,
    name: &str,
    labels: [(&str, &str); 2],
) -> Result<(), EngineError> {
    let context = context(holder, recipe)
        .map_err(|error| EngineError::Refused { reason: error.to_string() })?;
    let labels = HashMap::from(labels);
    let options = BuildImageOptionsBuilder::new().t(name).rm(true).labels(&labels).build();
    let body = bollard::body_full(context.into());
    let built = docker.build_image(options, None, Some(body)).try_collect::<Vec<_>>().await;
    let said = built.map_err(refused)?;
    let complaint = said.into_iter().find_map(|said| said.error_detail?.message);
    complaint.map_or(Ok(()), |reason| Err(EngineError::Refused { reason }))
}

/// What the builder is given: the recipe, and below each folder what it copies.
fn context(holder: &[u8], recipe: &str) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::with_capacity(holder.len() + 16 * 1024));
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, content)
    };
    const DIRECTORY: tar::EntryType = tar::EntryType::Directory;
    add("Dockerfile", tar::EntryType::Regular, 0o644, recipe.as_bytes())?;
    add("root/", DIRECTORY, 0o755, &[])?;
    add("root/.sam/", DIRECTORY, 0o755, &[])?;
    add("root/.sam/holder", tar::EntryType::Regular, 0o755, holder)?;
    add("state/", DIRECTORY, 0o755, &[])?;
    add("state/state/", DIRECTORY, 0o700, &[])?;
    add("workspace/", DIRECTORY, 0o755, &[])?;
    archive.into_inner()
}

/// Those of the same base in an older state. One that a container still uses stays until the next time.
async fn remove_outdated(docker: &Docker, base: &str, base_id: &str) {
    let filters = HashMap::from([("label".to_string(), vec![format!("{BASE_LABEL}={base}")])]);
    let options = ListImagesOptionsBuilder::new().filters(&filters).build();
    let listed = docker.list_images(Some(options)).await.unwrap_or_default();
    for image in listed {
        if image.labels.get(BASE_ID_LABEL).is_some_and(|made_of| made_of != base_id) {
            for tag in image.repo_tags {
                let removed = docker.remove_image(&tag, None::<RemoveImageOptions>, None).await;
                if let Err(error) = removed {
                    tracing::debug!(image = tag, %error, "an outdated image stays");
                }
            }
        }
    }
}
