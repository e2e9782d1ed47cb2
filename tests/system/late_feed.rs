//! `sam run` where the live feed is late: what was said is shown all the same, and once.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde_json::{Value, json};
use tests::world::{Store, World};
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy,
        copy_bidirectional,
    },
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::command_line::{sam, text};

/// Passes connections on, for ever.
async fn pass_all(
    listener: TcpListener,
    server: SocketAddr,
    is_let_through: watch::Receiver<bool>,
) -> Result<()> {
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                connections.push(pass(accepted?.0, server, is_let_through.clone()));
            }
            // That a connection ends is its two ends' matter.
            Some(_) = connections.next() => {}
        }
    }
}

/// Passes one connection on. What a live feed tells is kept back behind the answer that opens it.
async fn pass(
    client: TcpStream,
    server: SocketAddr,
    mut is_let_through: watch::Receiver<bool>,
) -> Result<()> {
    let mut client = BufReader::new(client);
    let is_feed = client.fill_buf().await?.starts_with(b"GET /api/live");
    let mut server = TcpStream::connect(server).await?;
    if !is_feed {
        copy_bidirectional(&mut client, &mut server).await?;
        return Ok(());
    }
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = server.split();
    let told = async {
        let mut opened = Vec::new();
        while !opened.ends_with(b"\r\n\r\n") {
            opened.push(from_server.read_u8().await?);
        }
        to_client.write_all(&opened).await?;
        is_let_through.wait_for(|is_let_through| *is_let_through).await?;
        copy(&mut from_server, &mut to_client).await?;
        anyhow::Ok(())
    };
    let asked = async {
        copy(&mut from_client, &mut to_server).await?;
        anyhow::Ok(())
    };
    tokio::try_join!(told, asked)?;
    Ok(())
}

/// Names another address to the programs of a data directory.
fn announce(world: &World, address: SocketAddr) -> Result<()> {
    let file = world.data_dir().join("server.json");
    let mut said: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
    said["address"] = json!(address);
    Ok(std::fs::write(file, said.to_string())?)
}

#[tokio::test]
async fn run_shows_what_was_said_before_it_hears_of_it() -> Result<()> {
    let world = World::start("late-feed", Store::Sqlite).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    announce(&world, listener.local_addr()?)?;
    let (let_through, is_let_through) = watch::channel(false);
    let repository = world.repository.path().to_str().context("a readable path")?;
    let idea = "plan: look; answer\nwrite A.md: one\nsay: hello there";
    let words = ["run", "--agent", "demo", "--repo", repository, idea];
    let ideas = format!("projects/{}/ideas", world.project);
    let story = async {
        let is_done = |ideas: &Value| ideas[0]["stage"] == "done";
        let over = async {
            world.until(&ideas, is_done).await?;
            let_through.send_replace(true);
            anyhow::Ok(())
        };
        let (output, ()) = tokio::try_join!(sam(&world, &words), over)?;
        anyhow::Ok(output)
    };
    let output = tokio::select! {
        ended = pass_all(listener, world.server()?.address, is_let_through) => {
            bail!("nobody passes anything on: {ended:?}")
        }
        output = story => output?,
    };
    let (branch, shown) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.success() && branch.starts_with("sam/"), "{branch}{shown}");
    for said in ["hello there", "☑ look", "choosing a machine"] {
        ensure!(shown.matches(said).count() == 1, "{said:?} is not shown once: {shown}");
    }
    world.end().await
}
