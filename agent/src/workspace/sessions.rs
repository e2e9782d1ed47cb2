//! Which sessions are live on this node, and in which workspace: a prompt finds its session here
//! without waiting for the workspace's actor.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use domain::ids::{SessionId, WorkspaceId};

use crate::session::SessionHandle;

/// The sessions of all workspaces.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<SessionId, Live>>);

/// One session that was started or taken up again.
#[derive(Clone)]
pub struct Live {
    pub workspace: WorkspaceId,
    pub epoch: u32,
    pub handle: SessionHandle,
}

impl Sessions {
    pub fn get(&self, session: SessionId) -> Option<Live> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&session).cloned()
    }

    pub fn put(&self, session: SessionId, live: Live) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(session, live);
    }

    /// Takes out what belongs to a workspace.
    pub fn take_of(&self, workspace: WorkspaceId) -> Vec<(SessionId, Live)> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.extract_if(|_, live| live.workspace == workspace).collect()
    }
}
