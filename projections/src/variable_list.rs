//! The variables of each project, to be shown. What workspaces get comes from the project's own stream.
//!
//! Of a secret one the row does not say where its value is: whoever reads rows cannot show it.

use domain::{
    event::Event,
    ids::ProjectId,
    project::ProjectEvent,
    values::{ContentRef, Timestamp},
};

use crate::{
    columns::json,
    database::Database,
    error::DatabaseError,
    projection::{Projection, Recorded, Writes},
    sql::SqlRow,
};

#[derive(Debug)]
pub struct VariableList;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableRow {
    pub name: String,
    pub is_secret: bool,
    /// None where it is secret.
    pub value: Option<ContentRef>,
    pub set_at: Timestamp,
}

const SET: &str = "
    INSERT INTO project_variables (project, name, is_secret, value, set_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (project, name) DO UPDATE SET is_secret = excluded.is_secret, value = excluded.value,
        set_at = excluded.set_at";

impl Projection<Event> for VariableList {
    const NAME: &'static str = "variable_list";
    const TABLES: &'static [&'static str] = &["project_variables"];

    fn project(&self, recorded: &Recorded<Event>, writes: &mut Writes) {
        let Event::Project(project, event) = &recorded.event else { return };
        match event {
            ProjectEvent::VariableSet { name, is_secret, value } => {
                let shown = (!is_secret).then(|| json(value));
                writes.add(SET, (project.0, name, *is_secret, shown, recorded.metadata.at));
            }
            ProjectEvent::VariableRemoved { name } => {
                let removed = "DELETE FROM project_variables WHERE project = $1 AND name = $2";
                writes.add(removed, (project.0, name));
            }
            ProjectEvent::Erased => {
                writes.add("DELETE FROM project_variables WHERE project = $1", (project.0,));
            }
            ProjectEvent::Linked { .. }
            | ProjectEvent::Renamed { .. }
            | ProjectEvent::DefaultsChanged { .. }
            | ProjectEvent::ErasureRequested
            | ProjectEvent::StreamsErased { .. } => {}
        }
    }
}

/// The variables of a project, by their names.
pub async fn list(
    database: &Database,
    project: ProjectId,
) -> Result<Vec<VariableRow>, DatabaseError> {
    let list = "SELECT name, is_secret, value, set_at FROM project_variables WHERE project = $1";
    let rows = database.views().fetch_all(list, (project.0,)).await?;
    let mut variables = rows.iter().map(variable).collect::<Result<Vec<_>, _>>()?;
    // Here, since databases do not agree on the order of words.
    variables.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(variables)
}

fn variable(row: &SqlRow) -> Result<VariableRow, DatabaseError> {
    Ok(VariableRow {
        name: row.text("name")?,
        is_secret: row.bool("is_secret")?,
        value: row.json_option("value")?,
        set_at: row.time("set_at")?,
    })
}
