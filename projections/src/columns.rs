//! How values of the domain are kept in columns: enums by the names that serde gives them, structures as JSON.

use domain::ids::{ExecutionId, NodeId, ProjectId, SessionId, WorkspaceId};
use serde::{Serialize, de::DeserializeOwned};

use crate::{error::DatabaseError, sql::SqlRow};

/// What stands where a text of an erased project was.
pub(crate) const ERASED: &str = "erased";

/// JSON text of a structure.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("values of the domain have string keys, so they are JSON")
}

/// The name of a variant without fields.
pub(crate) fn name(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        other => unreachable!("only enums without fields have a name, not {other:?}"),
    }
}

impl SqlRow {
    /// Reads JSON text.
    pub(crate) fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, DatabaseError> {
        from_json(column, &self.text(column)?)
    }

    pub(crate) fn json_option<T: DeserializeOwned>(
        &self,
        column: &str,
    ) -> Result<Option<T>, DatabaseError> {
        self.text_option(column)?.map(|text| from_json(column, &text)).transpose()
    }

    /// Reads a variant by its name.
    pub(crate) fn named<T: DeserializeOwned>(&self, column: &str) -> Result<T, DatabaseError> {
        from_name(column, self.text(column)?)
    }

    pub(crate) fn named_option<T: DeserializeOwned>(
        &self,
        column: &str,
    ) -> Result<Option<T>, DatabaseError> {
        self.text_option(column)?.map(|text| from_name(column, text)).transpose()
    }

    pub(crate) fn number(&self, column: &str) -> Result<u32, DatabaseError> {
        u32::try_from(self.int(column)?)
            .map_err(|_| DatabaseError::failed(format!("column {column} is out of range")))
    }

    pub(crate) fn project(&self) -> Result<ProjectId, DatabaseError> {
        self.uuid("project").map(ProjectId)
    }

    pub(crate) fn execution(&self) -> Result<Option<ExecutionId>, DatabaseError> {
        Ok(self.uuid_option("execution")?.map(ExecutionId))
    }

    pub(crate) fn session(&self) -> Result<Option<SessionId>, DatabaseError> {
        Ok(self.uuid_option("session")?.map(SessionId))
    }

    pub(crate) fn node(&self) -> Result<Option<NodeId>, DatabaseError> {
        Ok(self.uuid_option("node")?.map(NodeId))
    }

    pub(crate) fn workspace(&self) -> Result<Option<WorkspaceId>, DatabaseError> {
        Ok(self.uuid_option("workspace")?.map(WorkspaceId))
    }
}

fn from_json<T: DeserializeOwned>(column: &str, text: &str) -> Result<T, DatabaseError> {
    serde_json::from_str(text)
        .map_err(|error| DatabaseError::failed(format!("column {column} is malformed: {error}")))
}

fn from_name<T: DeserializeOwned>(column: &str, name: String) -> Result<T, DatabaseError> {
    serde_json::from_value(serde_json::Value::String(name))
        .map_err(|error| DatabaseError::failed(format!("column {column} is malformed: {error}")))
}
