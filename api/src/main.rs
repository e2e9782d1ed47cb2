//! The `sam` command: makes the runtime and hands over to [`api::cli`].

use std::process::ExitCode;

/// Rows and messages are many small pieces: the system's allocator takes a fifth of the time they take. Huge
/// pages are off in the manifest; with them `sam` at rest has twice the memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The web server wants its own kind of loop around the runtime; the rest runs on all its threads.
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("the system gives threads")
    };
    actix::System::with_tokio_rt(runtime).block_on(api::cli::main())
}
