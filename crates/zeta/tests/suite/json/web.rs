//! The answer and the refusals of `web` fit their schema.

use super::{check, judge};
use crate::support::{Out, Sandbox};
use crate::web::Server;

#[test]
fn web() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &[]);
    let (line, port) = (server.line.clone(), server.port);
    let taken = check(&sandbox, &["web", "--port", &port.to_string()], 1);
    assert_eq!(taken["error"], "fault", "{taken}");
    let out = server.end();
    assert_eq!(out.out, "", "{out:?}");
    let page = judge(&["web"], &Out { out: line, ..out }, 0);
    assert_eq!(page["address"], "127.0.0.1");
    check(&sandbox, &["web", "--address", "0.0.0.0"], 3);
    check(&sandbox, &["web", "--host", "A"], 2);
    check(&sandbox, &["web", "--port", "x"], 2);
    check(&sandbox, &["web", "--as", "Odd"], 2);
}
