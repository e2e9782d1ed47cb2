//! A disk on which every flush takes longer: this program starts itself again behind a small library that
//! stands before the C library's `fsync` and `fdatasync`, which all its children inherit.
//!
//! So the delay is the same for our SQLite within this program, for the PostgreSQL server, and for the peers. It is
//! looked at before it is believed: a program that was linked in another way would not see the library.

use std::{process::Command, time::Instant};

use anyhow::{Context as _, Result, ensure};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tests::{
    bench::{Folder, run, say},
    postgres::Cluster,
};

use crate::bare;

/// Said to the program by itself when it starts again.
pub(crate) const ON_SLOW_DISK: &str = "--on-slow-disk";
const FLUSH_DELAY_MS: u32 = 2;
const N_COMMITS: u32 = 200;

const LIBRARY: &str = r#"
    #define _GNU_SOURCE
    #include <errno.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    static int later(long answer) {
        int error = errno;
        struct timespec left = { 0, FLUSH_DELAY_MS * 1000000L };
        while (nanosleep(&left, &left) != 0 && errno == EINTR) {}
        errno = error;
        return (int) answer;
    }
    int fsync(int file) { return later(syscall(SYS_fsync, file)); }
    int fdatasync(int file) { return later(syscall(SYS_fdatasync, file)); }
"#;

/// Starts this program again, with the same words.
pub(crate) fn again(words: &[String]) -> Result<()> {
    say(&format!("the appends again, with {FLUSH_DELAY_MS} ms added to every flush"));
    let folder = Folder::new("log-slow-disk")?;
    let [source, library] =
        ["flush.c", "flush.so"].map(|name| folder.path().join(name).display().to_string());
    std::fs::write(&source, LIBRARY)?;
    let delay = format!("-DFLUSH_DELAY_MS={FLUSH_DELAY_MS}");
    // Any C compiler will do: the build of SQLite needs one too.
    run("cc", &["-shared", "-fPIC", &delay, "-o", &library, &source])?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words).arg(ON_SLOW_DISK).env("LD_PRELOAD", &library);
    let status = command.status().context("this program cannot be started again")?;
    ensure!(status.success(), "the run on a slow disk failed");
    Ok(())
}

/// Fails where flushes are quicker than they can be, here or in the server.
pub(crate) async fn check(folder: &Folder, cluster: &Cluster) -> Result<()> {
    let here = bare::sync_rate(folder)?;
    let mut connection = PgConnection::connect(&cluster.database()?).await?;
    connection.execute("CREATE TABLE flushed (n INT)").await?;
    let begun = Instant::now();
    for _ in 0..N_COMMITS {
        connection.execute("INSERT INTO flushed VALUES (1)").await?;
    }
    let server = f64::from(N_COMMITS) / begun.elapsed().as_secs_f64();
    say(&format!("{here:.0} flushes/s here, {server:.0} commits/s one by one in the server"));
    let most = 1000.0 / f64::from(FLUSH_DELAY_MS);
    ensure!(here < most && server < most, "the delay does not reach: {most} would be the most");
    Ok(())
}
