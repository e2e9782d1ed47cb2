//! A small repository in the data directory, so that the first idea needs nothing of one's own.
//!
//! It is made once, in whole or not at all, and then belongs to the person: branches are pushed to it, and
//! it is never changed or made again here while it exists.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::{io::AsyncWriteExt as _, process::Command};

const FOLDER: &str = "sample.git";
/// Git does this in milliseconds; a machine on which it does not answer shall start all the same.
const PERIOD_MAX: Duration = Duration::from_secs(20);

const FILES: &[(&str, &str)] = &[
    (
        "README.md",
        "# Hello\n\nA small program to try SAM on. It greets whoever it is told to:\n\n\
         \x20   python3 hello.py World\n",
    ),
    (
        "hello.py",
        "\"\"\"Greets whoever is named on the command line.\"\"\"\n\nimport sys\n\n\n\
         def greeting(name):\n    return f\"Hello, {name}!\"\n\n\n\
         if __name__ == \"__main__\":\n    print(greeting(\" \".join(sys.argv[1:]) or \"World\"))\n",
    ),
    (
        "test_hello.py",
        "import unittest\n\nfrom hello import greeting\n\n\nclass Greeting(unittest.TestCase):\n\
         \x20   def test_names_the_person(self):\n        self.assertEqual(greeting(\"Ada\"), \"Hello, Ada!\")\n",
    ),
];

/// Where the sample repository is, if there is one.
#[must_use]
pub fn find(data_dir: &Path) -> Option<String> {
    let folder = std::path::absolute(data_dir.join(FOLDER)).ok()?;
    folder.is_dir().then(|| folder.to_str().map(str::to_owned)).flatten()
}

/// Makes the repository if it is missing. SAM works without it, so a failure is only logged.
pub async fn make(data_dir: &Path) {
    if find(data_dir).is_some() {
        return;
    }
    let made = tokio::time::timeout(PERIOD_MAX, make_whole(data_dir)).await;
    if let Err(error) = made.context("git does not answer").flatten() {
        tracing::warn!(error = format!("{error:#}"), "there is no sample repository");
    }
}

async fn make_whole(data_dir: &Path) -> anyhow::Result<()> {
    let unfinished = std::path::absolute(data_dir.join(format!("{FOLDER}.new")))?;
    // Left behind by a start that was killed.
    let _ = tokio::fs::remove_dir_all(&unfinished).await;
    git(&["init", "--bare", "--quiet", "--initial-branch=main"], &unfinished, "").await?;
    git(&["fast-import", "--quiet"], &unfinished, &stream()).await?;
    tokio::fs::rename(&unfinished, data_dir.join(FOLDER)).await?;
    Ok(())
}

/// The one commit, as git's fast-import reads it. Its date is fixed: every installation starts with the
/// same commit.
fn stream() -> String {
    let message = "Say hello";
    let mut stream = format!(
        "commit refs/heads/main\ncommitter SAM <sam@localhost> 1767225600 +0000\ndata {}\n{message}\n",
        message.len()
    );
    for (path, text) in FILES {
        stream.push_str(&format!("M 100644 inline {path}\ndata {}\n{text}\n", text.len()));
    }
    stream
}

async fn git(words: &[&str], directory: &PathBuf, stdin: &str) -> anyhow::Result<()> {
    let mut command = Command::new("git");
    command.arg("--git-dir").arg(directory).args(words).env_remove("GIT_WORK_TREE");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = command.kill_on_drop(true).spawn().context("git cannot be started")?;
    let mut input = running.stdin.take().context("git takes no input")?;
    input.write_all(stdin.as_bytes()).await?;
    drop(input);
    let Output { status, stderr, .. } = running.wait_with_output().await?;
    if !status.success() {
        bail!("git {}: {}", words.join(" "), String::from_utf8_lossy(&stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_sample_repository_is_made_once_and_kept() {
        let folder = std::env::temp_dir().join(format!("sam-sample-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(find(&folder), None);
        make(&folder).await;
        let made = PathBuf::from(find(&folder).unwrap());
        let listed = std::process::Command::new("git")
            .args(["ls-tree", "--name-only", "main"])
            .current_dir(&made)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&listed.stdout), "README.md\nhello.py\ntest_hello.py\n");
        git(&["update-ref", "refs/heads/mine", "main"], &made, "").await.unwrap();
        make(&folder).await;
        assert!(made.join("refs/heads/mine").exists(), "it is not made again");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
