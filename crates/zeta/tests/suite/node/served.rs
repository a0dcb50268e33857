//! A bare repository that git serves to other machines, and to systems without its directory.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The repository, as git serves it.
pub struct Served {
    daemon: Child,
    pub url: String,
}

impl Served {
    pub fn new(repository: &Path) -> Served {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Not by 'git daemon', which would start it as a child that outlives its end.
        let path = Command::new("git").arg("--exec-path").output().unwrap().stdout;
        let path = Path::new(std::str::from_utf8(&path).unwrap().trim()).join("git-daemon");
        let mut daemon = Command::new(path);
        daemon.args(["--listen=127.0.0.1", "--export-all", "--enable=receive-pack"]);
        daemon.arg(format!("--port={port}"));
        daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        daemon.arg(format!("--base-path={}", repository.parent().unwrap().display()));
        let daemon = daemon.spawn().unwrap();
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "git daemon does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        let name = repository.file_name().unwrap().to_string_lossy().into_owned();
        Served { daemon, url: format!("git://127.0.0.1:{port}/{name}") }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
