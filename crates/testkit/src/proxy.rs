use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
};

/// A TCP connection between two parties that can be cut without either of them ending: what a network does.
pub struct Proxy {
    address: SocketAddr,
    is_whole: watch::Sender<bool>,
}

impl Proxy {
    /// Passes connections on to `target`, a `host:port`, until it is dropped.
    pub async fn to(target: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let is_whole = watch::Sender::new(true);
        tokio::spawn(pass_on(listener, target.to_owned(), is_whole.subscribe()));
        Self { address, is_whole }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drops all connections; new ones are dropped as soon as they are made.
    pub fn cut(&self) {
        self.is_whole.send_replace(false);
    }

    /// Lets connections through again.
    pub fn heal(&self) {
        self.is_whole.send_replace(true);
    }
}

async fn pass_on(listener: TcpListener, target: String, mut is_whole: watch::Receiver<bool>) {
    loop {
        let accepted = select! {
            accepted = listener.accept() => accepted,
            // The proxy is gone.
            gone = async { while is_whole.changed().await.is_ok() {} } => return gone,
        };
        let Ok((mut near, _)) = accepted else { continue };
        let (target, mut is_whole) = (target.clone(), is_whole.clone());
        tokio::spawn(async move {
            if !*is_whole.borrow_and_update() {
                return;
            }
            let Ok(mut far) = TcpStream::connect(target).await else { return };
            select! {
                _ = copy_bidirectional(&mut near, &mut far) => {}
                // Cut, or gone.
                _ = is_whole.changed() => {}
            }
        });
    }
}
