//! Until when a socket may stay open: as long as what let its browser in is good.
//!
//! A browser shows its cookie once, when it connects, and is told things for hours after. So each socket waits for
//! the end of its own cookie, wherever and for whatever reason that comes. A command line's token is the server's own,
//! and ends with it.

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};

use crate::{caller::Caller, server::Server};

/// The code with which a socket is closed whose sign-in has ended: coming back is of no use without another one.
pub(super) const SIGNED_OUT: u16 = 4401;

/// Resolves once nobody is signed in at a socket any more.
pub(super) type SignedOut = Shared<BoxFuture<'static, ()>>;

/// Waits for the end of what let a caller in.
pub(super) fn signed_out(server: &Server, caller: &Caller) -> SignedOut {
    // Not the server itself: an open socket must not keep that from ending in order.
    let (sign_in, cookie) = (server.system().sign_in.clone(), caller.cookie);
    let ended = async move {
        match cookie {
            Some(cookie) => sign_in.ended(cookie).await,
            None => std::future::pending().await,
        }
    };
    ended.boxed().shared()
}
