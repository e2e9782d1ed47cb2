//! The variables of projects: sealed when they are set, opened when a workspace needs them.
//!
//! A value is content under its project's key, written with the event that names it. Only orders to a node's
//! agent carry it in the clear, and for those it is opened at the last moment.

use std::{collections::BTreeMap, fmt};

use domain::{
    ids::{ContentId, ProjectId, derived},
    project::{Project, ProjectCommand, variable::VariableLimits},
};
use projections::event_log::Position;

use crate::{
    caller::Caller,
    dispatcher::{DispatchError, Dispatcher},
    sealing::{Sealing, SealingError},
};

/// Sets, removes and opens variables. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Variables {
    sealing: Sealing,
    dispatcher: Dispatcher,
}

/// A variable as a person writes it. Its value is never printed.
pub struct NewVariable {
    pub name: String,
    pub value: String,
    pub is_secret: bool,
}

impl fmt::Debug for NewVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewVariable").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Variables {
    pub(crate) fn new(sealing: &Sealing, dispatcher: &Dispatcher) -> Self {
        Self { sealing: sealing.clone(), dispatcher: dispatcher.clone() }
    }

    /// Sets a variable of a project, in place of the one of that name if there is one.
    pub async fn set(
        &self,
        caller: &Caller,
        project: ProjectId,
        new: NewVariable,
        limits: VariableLimits,
    ) -> Result<Position, DispatchError> {
        let NewVariable { name, value, is_secret } = new;
        check(&value)?;
        let id = ContentId(derived(caller.command.0, "variable"));
        let (value, content) = self.sealing.seal(project, id, &value).await?;
        let set = ProjectCommand::SetVariable { name, is_secret, value, limits };
        self.dispatcher.send(caller, (project, set), vec![content]).await
    }

    /// Removes a variable of a project.
    pub async fn remove(
        &self,
        caller: &Caller,
        project: ProjectId,
        name: String,
    ) -> Result<Position, DispatchError> {
        let remove = ProjectCommand::RemoveVariable { name };
        self.dispatcher.send(caller, (project, remove), Vec::new()).await
    }

    /// All variables of a project with their values, as its stream says now.
    pub(crate) async fn values(
        &self,
        project: ProjectId,
    ) -> Result<BTreeMap<String, String>, DispatchError> {
        let state = self.dispatcher.state::<Project>(project.0).await?;
        let Project::Linked { variables, .. } = &*state else { return Ok(BTreeMap::new()) };
        if variables.is_empty() {
            return Ok(BTreeMap::new());
        }
        let ids: Vec<ContentId> = variables.values().map(|variable| variable.value.id).collect();
        let mut texts = self.sealing.texts(&ids).await?;
        let values = variables.iter().map(|(name, variable)| {
            let unreadable = || SealingError::Unreadable { what: format!("the variable {name}") };
            let value = texts.remove(&variable.value.id).ok_or_else(unreadable)?;
            Ok((name.clone(), value))
        });
        values.collect::<Result<_, SealingError>>().map_err(DispatchError::from)
    }
}

/// No program's environment can have it.
fn check(value: &str) -> Result<(), DispatchError> {
    if value.contains('\0') {
        let reason = "a variable's value has no zero bytes: no program could read it".to_owned();
        return Err(DispatchError::Refused { code: "bad_variable_value".to_owned(), reason });
    }
    Ok(())
}
