//! The images that workspaces run in; the recipes are scripts, because `sam setup` runs them too.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::command::{Failure, Outcome, answer_of, quietly, script};
use crate::console::with_progress;
use crate::places;

pub(crate) fn ensure() -> Outcome {
    build("making the workspace image", "base-image/build.sh", &[])?;
    Ok(())
}

/// The image with the Claude Code adapter, and the adapter's program taken out of it: the tests run
/// it against a scripted model, with and without a container.
pub(crate) fn ensure_claude_code() -> Outcome<PathBuf> {
    let title = "making the image with the Claude Code adapter";
    let image = build(title, "base-image/coding-agent.sh", &["claude-code"])?;
    let id = docker(&["image", "inspect", "--format", "{{.Id}}", &image])?;
    let folder = places::cache()?.join("coding-agent").join(id.trim_start_matches("sha256:"));
    let program = folder.join("node_modules/.bin/claude-agent-acp");
    if !program.exists() {
        take_out(&image, &folder)?;
    }
    Ok(program)
}

/// Copies the adapter to a folder of its own, which appears only once it is whole.
fn take_out(image: &str, folder: &PathBuf) -> Outcome {
    let partial = folder.with_extension("partial");
    if partial.exists() {
        std::fs::remove_dir_all(&partial)?;
    }
    std::fs::create_dir_all(&partial)?;
    let container = docker(&["create", image])?;
    let mut copy = Command::new("docker");
    copy.arg("cp").arg(format!("{container}:/opt/coding-agent/.")).arg(&partial);
    let copied = quietly("taking the Claude Code adapter out of its image", &mut copy);
    docker(&["rm", &container])?;
    copied?;
    Ok(std::fs::rename(&partial, folder)?)
}

fn docker(words: &[&str]) -> Outcome<String> {
    let answer = answer_of(Command::new("docker").args(words));
    answer.ok_or_else(|| Failure(format!("docker {} failed", words.join(" "))))
}

/// Runs a recipe and tells the tag of its image.
fn build(title: &str, path: &str, words: &[&str]) -> Outcome<String> {
    let mut command = script(path);
    command.args(words).stderr(Stdio::inherit());
    let output = with_progress(title, || command.output())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(Failure(format!("{title}: ops/{path} ended with {}", output.status)))
}
