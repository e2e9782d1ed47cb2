//! The holder as its clients see it: the real binary, over the pipes of `attach`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use holder::protocol::{
    Bundle, BundleMade, Event, Exit, ExitCause, Operation, RefusalKind, Request, SPOOL_BYTES_MAX,
    Setup, SetupDone, Start, TerminalSize,
};

const BINARY: &str = env!("CARGO_BIN_EXE_sam-holder");

/// A holder with a place of its own.
struct Holder {
    serve: Child,
    place: PathBuf,
}

impl Holder {
    fn start() -> Self {
        let place = scratch();
        let serve = holder(&place).arg("serve").spawn().unwrap();
        Self { serve, place }
    }

    fn attach(&self) -> Client {
        let mut attach = holder(&self.place);
        let attach = attach.arg("attach").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut attach = attach.spawn().unwrap();
        let (stdin, stdout) = (attach.stdin.take().unwrap(), attach.stdout.take().unwrap());
        let mut client = Client { attach, stdin, events: BufReader::new(stdout), n_asked: 0 };
        assert_eq!(client.next(), Event::Hello { protocol: 1 });
        client
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.serve.kill();
        let _ = self.serve.wait();
        let _ = fs::remove_dir_all(&self.place);
    }
}

fn holder(place: &Path) -> Command {
    let mut command = Command::new(BINARY);
    command.env("SAM_HOLDER_DIR", place);
    command
}

fn scratch() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("sam-holder-test-{}-{number}", std::process::id());
    let place = std::env::temp_dir().join(name);
    fs::create_dir_all(&place).unwrap();
    place
}

/// One agent.
struct Client {
    attach: Child,
    stdin: ChildStdin,
    events: BufReader<ChildStdout>,
    n_asked: u64,
}

impl Client {
    fn ask(&mut self, operation: Operation) -> u64 {
        self.n_asked += 1;
        let session = "session-1".to_string();
        let request = Request { id: self.n_asked, session, epoch: 1, operation };
        writeln!(self.stdin, "{}", serde_json::to_string(&request).unwrap()).unwrap();
        self.n_asked
    }

    fn next(&mut self) -> Event {
        let mut line = String::new();
        self.events.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Asks, and waits until it is done; there must be no output meanwhile.
    fn done(&mut self, operation: Operation) {
        let id = self.ask(operation);
        assert_eq!(self.next(), Event::Done { id });
    }

    fn start(&mut self, script: &str, spool_bytes_max: u64) {
        self.done(Operation::Start(program(script, spool_bytes_max, None)));
    }

    fn follow(&mut self, offset: u64) {
        self.done(Operation::Follow { offset });
    }

    /// Kills the program that is followed. Its exit and the answer come in either order.
    fn kill(&mut self, grace_ms: u64) -> Exit {
        let killed = Event::Done { id: self.ask(Operation::Kill { grace_ms }) };
        match (self.next(), self.next()) {
            (Event::Exited { exit, .. }, done) | (done, Event::Exited { exit, .. }) => {
                assert_eq!(done, killed);
                exit
            }
            other => panic!("{other:?} instead of an exit"),
        }
    }

    /// Reads output, which must be in order, until it contains `end` or the program has ended.
    fn output_until(&mut self, end: Option<&str>) -> (String, Option<Exit>) {
        let mut seen = String::new();
        let mut next = None;
        loop {
            match self.next() {
                Event::Output { offset, text, .. } => {
                    assert_eq!(*next.get_or_insert(offset), offset, "output has a hole");
                    next = Some(offset + text.len() as u64);
                    seen.push_str(&text);
                }
                Event::Exited { exit, .. } => return (seen, Some(exit)),
                Event::Done { .. } => {}
                other => panic!("{other:?} instead of output"),
            }
            if end.is_some_and(|end| seen.contains(end)) {
                return (seen, None);
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.attach.kill();
        let _ = self.attach.wait();
    }
}

fn program(script: &str, spool_bytes_max: u64, terminal: Option<TerminalSize>) -> Start {
    Start {
        argv: ["sh", "-c", script].map(str::to_string).to_vec(),
        env: BTreeMap::from([("GREETING".to_string(), "hello".to_string())]),
        cwd: "/".to_string(),
        spool_bytes_max,
        terminal,
    }
}

fn write(number: u64, line: &str) -> Operation {
    Operation::Write { number, line: line.to_string() }
}

fn is_running(process: &str) -> bool {
    // A process that has ended may wait for a parent that does not care.
    let state = fs::read_to_string(format!("/proc/{}/stat", process.trim()));
    state.is_ok_and(|state| !state.contains(") Z "))
}

/// The kernel closes what a process has open, and shows nothing of it any more, a moment before its state says so.
fn is_soon_over(process: &str) -> bool {
    let until = Instant::now() + Duration::from_secs(30);
    while is_running(process) && Instant::now() < until {
        std::thread::yield_now();
    }
    !is_running(process)
}

#[test]
fn a_line_is_written_once_however_often_it_is_sent() {
    let holder = Holder::start();
    let mut client = holder.attach();
    client.start("cat", SPOOL_BYTES_MAX);
    client.done(write(1, "one"));
    client.done(write(1, "one"));
    drop(client);
    let mut client = holder.attach();
    client.start("cat", SPOOL_BYTES_MAX);
    client.done(write(1, "one"));
    client.done(write(2, "two"));
    client.follow(0);
    assert_eq!(client.output_until(Some("two\n")).0, "one\ntwo\n");
}

#[test]
fn output_can_be_followed_again_from_any_offset_and_after_the_end() {
    let holder = Holder::start();
    let mut client = holder.attach();
    client.start("echo $GREETING; echo wörld; echo oops >&2; exit 7", SPOOL_BYTES_MAX);
    for offset in [0, 3, 7] {
        client.follow(offset);
        let (seen, exit) = client.output_until(None);
        let all = "hello\nwörld\n";
        assert_eq!(seen, all[usize::try_from(offset).unwrap()..]);
        let stderr_tail = "oops\n".to_string();
        let expected = Exit { code: Some(7), signal: None, stderr_tail, cause: ExitCause::Itself };
        assert_eq!(exit, Some(expected));
    }
}

#[test]
fn a_program_that_cannot_be_started_is_refused_and_can_be_tried_again() {
    let holder = Holder::start();
    let mut client = holder.attach();
    let mut missing = program("", SPOOL_BYTES_MAX, None);
    missing.argv = vec!["/no/such/program".to_string()];
    for _ in 0..2 {
        let asked = client.ask(Operation::Start(missing.clone()));
        let Event::Refused { id, kind, reason } = client.next() else { panic!("not refused") };
        assert_eq!((id, kind), (asked, RefusalKind::CannotStart));
        assert!(reason.contains("/no/such/program"), "{reason}");
    }
    let id = client.ask(Operation::Follow { offset: 0 });
    let refused = client.next();
    let Event::Refused { id: refused, kind: RefusalKind::Unknown, .. } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(refused, id);
}

#[test]
fn a_program_that_floods_is_ended() {
    let holder = Holder::start();
    let mut client = holder.attach();
    client.start("yes", 256 * 1024);
    client.follow(0);
    let (_, exit) = client.output_until(None);
    assert_eq!(exit.unwrap().cause, ExitCause::Flooded);
    let spool = holder.place.join("session-1/1/stdout");
    assert!(fs::metadata(spool).unwrap().len() < 1024 * 1024, "the spool is bounded");
}

#[test]
fn released_output_makes_room() {
    let holder = Holder::start();
    let mut client = holder.attach();
    client.start("head -c 200000 /dev/zero | tr '\\0' x; read line; seq 30000", 256 * 1024);
    client.follow(0);
    let mut n = 0;
    while n < 200_000 {
        if let Event::Output { text, .. } = client.next() {
            n += text.len();
        }
    }
    client.done(Operation::Release { offset: 200_000 });
    client.done(write(1, "go"));
    let (_, exit) = client.output_until(None);
    assert_eq!(exit.unwrap().cause, ExitCause::Itself);
}

#[test]
fn killing_reaches_children_in_sessions_of_their_own_and_the_deaf() {
    let holder = Holder::start();
    let mut client = holder.attach();
    // Both are deaf before the child says that it is there.
    let script = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 1; done' & \
                  while :; do sleep 1; done";
    client.start(script, SPOOL_BYTES_MAX);
    client.follow(0);
    let (process, _) = client.output_until(Some("\n"));
    assert!(is_running(&process));
    let exit = client.kill(50);
    assert_eq!((exit.cause, exit.signal), (ExitCause::Killed, Some(9)));
    assert!(is_soon_over(&process), "the child in its own session lives on");
}

#[test]
fn what_a_program_leaves_behind_ends_with_it() {
    let holder = Holder::start();
    let mut client = holder.attach();
    client.start("setsid sleep 1000 & echo $!", SPOOL_BYTES_MAX);
    client.follow(0);
    let (process, exit) = client.output_until(None);
    assert_eq!(exit.unwrap().code, Some(0));
    assert!(is_soon_over(&process));
}

#[test]
fn a_program_of_an_earlier_life_is_lost() {
    let mut holder = Holder::start();
    let mut client = holder.attach();
    client.start("echo here; exec sleep 1000", SPOOL_BYTES_MAX);
    client.follow(0);
    client.output_until(Some("here\n"));
    client.kill(0);
    // As if the container had gone down before anybody wrote down how the program ended.
    let state = holder.place.join("session-1/1/state.json");
    fs::write(state, r#"{"argv":[],"exit":null}"#).unwrap();
    holder.serve.kill().unwrap();
    holder.serve.wait().unwrap();
    holder.serve = self::holder(&holder.place).arg("serve").spawn().unwrap();
    let mut client = holder.attach();
    client.start("echo a second time", SPOOL_BYTES_MAX);
    client.follow(0);
    let (seen, exit) = client.output_until(None);
    assert_eq!((seen.as_str(), exit.unwrap().cause), ("here\n", ExitCause::Lost));
}

#[test]
fn a_shell_has_a_terminal_that_can_be_resized_and_repainted() {
    let holder = Holder::start();
    let mut client = holder.attach();
    let size = TerminalSize { rows: 24, columns: 80 };
    client.done(Operation::Start(program("stty -echo; sh", SPOOL_BYTES_MAX, Some(size))));
    client.follow(0);
    let typed = |text: &str| Operation::Input { text: text.to_string() };
    client.ask(typed("stty size\n"));
    client.output_until(Some("24 80"));
    client.ask(Operation::Resize { rows: 50, columns: 132 });
    // The kernel tells the terminal's size once the holder has set it; typing may be faster.
    client.ask(typed("until stty size | grep '^50 132'; do :; done; echo do''ne\n"));
    assert!(client.output_until(Some("done")).0.contains("50 132"));
    client.ask(typed("seq 100000; echo en''ough\n"));
    // Whoever cannot keep up with a terminal misses some of it.
    let mut seen = String::new();
    while !seen.contains("enough") {
        if let Event::Output { text, .. } = client.next() {
            seen.push_str(&text);
        }
    }
    let mut other = holder.attach();
    other.follow(0);
    let Event::Output { offset, .. } = other.next() else { panic!("no repaint") };
    assert!(offset > 0, "the ring has let go of the oldest output");
}

#[test]
fn names_of_sessions_lead_nowhere_else() {
    let holder = Holder::start();
    let mut client = holder.attach();
    let line = r#"{"id":5,"session":"../etc","epoch":1,"op":"follow","offset":0}"#;
    writeln!(client.stdin, "{line}").unwrap();
    writeln!(client.stdin, "no JSON").unwrap();
    for expected in [5, 0] {
        let Event::Refused { id, kind, .. } = client.next() else { panic!("not refused") };
        assert_eq!((id, kind), (expected, RefusalKind::Malformed));
    }
}

#[test]
fn the_first_process_ends_when_serve_does() {
    let place = scratch();
    let mut init = holder(&place).arg("init").spawn().unwrap();
    let mut attach = holder(&place);
    let mut attach =
        attach.arg("attach").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut hello = String::new();
    BufReader::new(attach.stdout.take().unwrap()).read_line(&mut hello).unwrap();
    assert!(hello.contains("hello"), "{hello}");
    let terminated = Command::new("kill").arg(init.id().to_string()).status().unwrap();
    assert!(terminated.success());
    assert_eq!(init.wait().unwrap().code(), Some(128 + 15));
    let _ = attach.kill();
    let _ = attach.wait();
    fs::remove_dir_all(place).unwrap();
}

/// A bundle as `begin` takes it: in pieces, each after its length.
fn in_pieces(bundle: &[u8]) -> Vec<u8> {
    let pieces = bundle.chunks(100).chain([[].as_slice()]);
    let length = |piece: &[u8]| u32::try_from(piece.len()).unwrap().to_be_bytes();
    pieces.flat_map(|piece| [&length(piece), piece].concat()).collect()
}

#[test]
fn a_container_begins_with_a_set_up_and_goes_on_as_a_session() {
    let place = scratch();
    let mirror = place.join("mirror");
    fs::create_dir_all(&mirror).unwrap();
    git(&mirror, &["init", "--quiet"]);
    git(&mirror, &["commit", "--quiet", "--allow-empty", "--message", "first"]);
    git(&mirror, &["bundle", "create", "--quiet", "../in.bundle", "--branches"]);
    let bundle = fs::read(place.join("in.bundle")).unwrap();
    let setup = |directory: &str| Setup {
        directory: place.join(directory).to_str().unwrap().to_string(),
        base_branch: "main".to_string(),
        branch: "sam/idea-1".to_string(),
        author_name: "Ada".to_string(),
        author_email: "ada@example.com".to_string(),
    };
    // The second bundle is none: then somebody else has to find out why.
    for (directory, bundle, is_done) in [("work", &bundle[..], true), ("none", b"?", false)] {
        let mut init = holder(&place);
        let init = init.args(["init", "begin"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut init = init.spawn().unwrap();
        let mut stdin = init.stdin.take().unwrap();
        let mut stdout = BufReader::new(init.stdout.take().unwrap());
        let wish = serde_json::to_string(&setup(directory)).unwrap();
        stdin.write_all(format!("{wish}\n").as_bytes()).unwrap();
        stdin.write_all(&in_pieces(bundle)).unwrap();
        let mut lines = [String::new(), String::new()];
        for line in &mut lines {
            stdout.read_line(line).unwrap();
        }
        assert_eq!(serde_json::from_str::<SetupDone>(&lines[0]).is_ok(), is_done, "{lines:?}");
        assert!(lines[1].contains("hello"), "{lines:?}");
        assert!(Command::new("kill").arg(init.id().to_string()).status().unwrap().success());
        assert_eq!(init.wait().unwrap().code(), Some(128 + 15));
    }
    assert_eq!(git(&place.join("work"), &["branch", "--show-current"]), "sam/idea-1");
    fs::remove_dir_all(place).unwrap();
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
        .args(["-c", "init.defaultBranch=main"])
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}

fn run(place: &Path, arguments: [&str; 2], stdin: &[u8]) -> Vec<u8> {
    let mut command = holder(place);
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output.stdout
}

#[test]
fn a_repository_goes_in_and_its_commits_come_out() {
    let place = scratch();
    let mirror = place.join("mirror");
    fs::create_dir_all(&mirror).unwrap();
    git(&mirror, &["init", "--quiet"]);
    fs::write(mirror.join("a.txt"), "a\n").unwrap();
    git(&mirror, &["add", "--all"]);
    git(&mirror, &["commit", "--quiet", "--message", "first"]);
    let base = git(&mirror, &["rev-parse", "HEAD"]);
    git(&mirror, &["bundle", "create", "--quiet", "../in.bundle", "--branches"]);
    let bundle = fs::read(place.join("in.bundle")).unwrap();

    let work = place.join("work");
    let setup = Setup {
        directory: work.to_str().unwrap().to_string(),
        base_branch: "main".to_string(),
        branch: "sam/idea-1".to_string(),
        author_name: r#"Ada "A\B" L."#.to_string(),
        author_email: "ada@example.com".to_string(),
    };
    let setup = serde_json::to_string(&setup).unwrap();
    // Leftovers of a set-up that was cut short.
    fs::create_dir_all(work.join(".git/objects")).unwrap();
    fs::write(work.join("half"), "").unwrap();
    for _ in 0..2 {
        let done: SetupDone =
            serde_json::from_slice(&run(&place, ["setup", &setup], &bundle)).unwrap();
        assert_eq!((&done.base_commit, &done.start_commit), (&base, &base));
        assert_eq!(git(&work, &["branch", "--show-current"]), "sam/idea-1");
        assert!(!work.join("half").exists());
    }

    let wish = Bundle {
        directory: work.to_str().unwrap().to_string(),
        commit_message: "What is left".to_string(),
        is_rescue: false,
    };
    let wish = serde_json::to_string(&wish).unwrap();
    let output = run(&place, ["bundle", &wish], &[]);
    let made: BundleMade = serde_json::from_slice(&output).unwrap();
    assert_eq!((made.n_bytes, &made.head), (0, &base), "nothing was done yet");

    fs::write(work.join(".git/hooks/pre-commit"), "#!/bin/sh\nexit 1\n").unwrap();
    // Somebody was killed while they held each of these.
    for lock in [".git/index.lock", ".git/HEAD.lock", ".git/refs/heads/sam/idea-1.lock"] {
        fs::write(work.join(lock), "").unwrap();
    }
    fs::write(place.join("outgoing.bundle.lock"), "").unwrap();
    fs::write(work.join("b.txt"), "b\n").unwrap();
    let output = run(&place, ["bundle", &wish], &[]);
    let mut output = BufReader::new(output.as_slice());
    let mut header = String::new();
    output.read_line(&mut header).unwrap();
    let made: BundleMade = serde_json::from_str(&header).unwrap();
    let mut bundle = Vec::new();
    output.read_to_end(&mut bundle).unwrap();
    assert_eq!(bundle.len() as u64, made.n_bytes);
    fs::write(place.join("out.bundle"), bundle).unwrap();
    git(&mirror, &["fetch", "--quiet", "../out.bundle", "HEAD"]);
    assert_eq!(git(&mirror, &["rev-parse", "FETCH_HEAD"]), made.head);
    assert_eq!(git(&mirror, &["show", "FETCH_HEAD:b.txt"]), "b");
    assert_eq!(
        git(&mirror, &["log", "-1", "--format=%an %s", "FETCH_HEAD"]),
        r#"Ada "A\B" L. What is left"#
    );
    fs::remove_dir_all(place).unwrap();
}
