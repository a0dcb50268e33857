//! `zeta web`: the page, and where it is.

use std::net::{IpAddr, Ipv4Addr};

use clap::Args;
use zeta_core::json::Object;
use zeta_web::{Page, Setting};

use super::{Call, Noun};
use zeta_os::error::{Error, Result};

pub(super) const NOUN: Noun = Noun {
    name: "web",
    about: "Show all of it on a page in the browser: live, read-only, for you alone",
    build: WebArgs::augment_args,
    verbs: &[],
    run,
};

// No documentation comment: the help would print it as the description of the whole verb.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints the address of the page, and serves it until it is ended (Ctrl-C). The address has a token:
who has it sees the page. Other users of this machine, and sites in your browser, get nothing.

From another machine: ssh -L 9000:127.0.0.1:8080 BOX there, --port 8080 --host localhost:9000 here.

Examples:
  zeta web
  zeta web --open                                # in the browser, at once
  zeta web --port 8080 --host localhost:9000     # called by another port, as of ssh -L
  zeta web --json                                # the address for a program")]
struct WebArgs {
    /// Port [default: a free one]
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Address of this machine to listen on
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// Also serve a browser that calls the page by this host, as through a tunnel; repeatable
    #[arg(long = "host", value_name = "HOST[:PORT]")]
    hosts: Vec<String>,
    /// Let --address name one that other machines reach; what they read is not encrypted
    #[arg(long)]
    allow_remote: bool,
    /// Open the page in the browser
    #[arg(long)]
    open: bool,
}

fn run(call: &Call) -> Result<u8> {
    let WebArgs { port, address, hosts, allow_remote, open } = call.args()?;
    let ctx = call.context()?;
    let page = Page::listen(Setting { ctx, address, port, allow_remote, hosts })?;
    let (bound, url) = (page.address(), page.url());
    let object = || {
        let mut object = Object::new();
        object.text("url", &url).text("address", &bound.ip().to_string());
        object.number("port", bound.port().into()).clone()
    };
    call.out.either(object, || url.clone())?;
    if !address.is_loopback() {
        call.out.note_finding(&unencrypted(bound.ip()));
    }
    let opened = match open.then(|| page.open()).transpose() {
        Ok(opened) => opened,
        Err(error) => {
            call.out.note_finding(&error);
            None
        }
    };
    page.serve(opened).map(|()| 0)
}

fn unencrypted(address: IpAddr) -> Error {
    Error::usage(format!(
        "other machines reach {address}, and the page is not encrypted: who can read the network \
         reads the token and the page"
    ))
    .hint("safer: ssh -L to a page on 127.0.0.1")
}
