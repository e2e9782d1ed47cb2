//! The `sam-holder` binary; everything is in the library.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match holder::run().await {
        Ok(code) => {
            // `exit` instead of a return: a thread of tokio may still be reading stdin.
            std::process::exit(code)
        }
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the only way to say why")]
            {
                eprintln!("sam-holder: {error}");
            }
            ExitCode::FAILURE
        }
    }
}
