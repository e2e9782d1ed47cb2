//! What a workspace changed, computed in the mirror with plumbing.

use domain::agent_protocol::{Commit, FileChange};

use crate::{
    git::{GitError, failed},
    mirror::{Mirror, check_commit_id},
};

/// How much of a diff is kept.
pub const DIFF_BYTES_MAX: usize = 1024 * 1024;
/// How many commits are listed.
pub const COMMITS_MAX: usize = 1000;
/// How many changed files are listed.
pub const FILES_MAX: usize = 5000;

/// Commits, files and diff between two commits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    pub commits: Vec<Commit>,
    pub files: Vec<FileChange>,
    pub diff: String,
    pub is_diff_cut: bool,
}

/// What lies between `base` and `head`.
pub async fn between(mirror: &Mirror, base: &str, head: &str) -> Result<Changes, GitError> {
    check_commit_id(base)?;
    check_commit_id(head)?;
    if base == head {
        return Ok(Changes::default());
    }
    let (commits, files, diff) = tokio::join!(
        commits(mirror, base, head),
        files(mirror, base, head),
        diff(mirror, base, head)
    );
    let (diff, is_diff_cut) = diff?;
    Ok(Changes { commits: commits?, files: files?, diff, is_diff_cut })
}

async fn commits(mirror: &Mirror, base: &str, head: &str) -> Result<Vec<Commit>, GitError> {
    let listed = mirror
        .git()
        .args(["log", "-z", "--no-color", "--format=%H%n%an%n%aI%n%s"])
        .args([format!("--max-count={COMMITS_MAX}"), format!("{base}..{head}"), "--".into()])
        .output()
        .await?;
    listed.split('\0').filter(|record| !record.is_empty()).map(commit).collect()
}

fn commit(record: &str) -> Result<Commit, GitError> {
    let mut lines = record.splitn(4, '\n');
    let mut next = || lines.next().unwrap_or_default().to_string();
    let (id, author, at, subject) = (next(), next(), next(), next());
    let at = chrono::DateTime::parse_from_rfc3339(&at).map_err(failed)?.to_utc();
    Ok(Commit { id, subject, author, at })
}

async fn files(mirror: &Mirror, base: &str, head: &str) -> Result<Vec<FileChange>, GitError> {
    let listed = mirror
        .git()
        .args(["diff-tree", "-r", "-z", "--no-renames", "--numstat", base, head, "--"])
        .output()
        .await?;
    let files = listed.split('\0').filter_map(|record| {
        let mut fields = record.splitn(3, '\t');
        // Binary files are counted as "-".
        let added = fields.next()?.parse().unwrap_or(0);
        let removed = fields.next()?.parse().unwrap_or(0);
        Some(FileChange { path: fields.next()?.to_string(), added, removed })
    });
    Ok(files.take(FILES_MAX).collect())
}

async fn diff(mirror: &Mirror, base: &str, head: &str) -> Result<(String, bool), GitError> {
    let printed = mirror
        .git()
        .args(["diff-tree", "-r", "-p", "-M", "--no-color", "--no-ext-diff", "--no-textconv"])
        .args([base, head, "--"])
        .finish(DIFF_BYTES_MAX as u64)
        .await?;
    if !printed.is_success {
        return Err(crate::git::local_failure(&printed.stderr));
    }
    Ok(cut(&String::from_utf8_lossy(&printed.stdout), printed.is_stdout_cut))
}

/// At most [`DIFF_BYTES_MAX`] bytes of text that ends at a line's end when it was cut: replacing bytes that are no
/// text may have made it longer.
fn cut(text: &str, is_cut: bool) -> (String, bool) {
    let is_cut = is_cut || text.len() > DIFF_BYTES_MAX;
    if !is_cut {
        return (text.to_string(), false);
    }
    let end = text.floor_char_boundary(DIFF_BYTES_MAX);
    let end = text[..end].rfind('\n').map_or(end, |newline| newline + 1);
    (text[..end].to_string(), true)
}

#[cfg(test)]
mod tests {
    use super::{DIFF_BYTES_MAX, cut};

    #[test]
    fn a_long_diff_ends_at_the_end_of_a_line() {
        let line = "+ä line of text\n";
        let text = line.repeat(DIFF_BYTES_MAX / line.len() + 10);
        let (kept, is_cut) = cut(&text, false);
        assert!(is_cut && kept.len() <= DIFF_BYTES_MAX && kept.ends_with('\n'));
        assert_eq!(cut("+ short\n", false), ("+ short\n".to_string(), false));
    }
}
