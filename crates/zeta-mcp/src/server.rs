//! The protocol: the tools, the resource, and the news about it, in both eras of the protocol.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelledNotificationParam,
    ContentBlock, ErrorCode, ErrorData, Implementation, ListResourcesResult, ListToolsResult,
    MetaObject, PaginatedRequestParams, ProgressNotificationParam, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, Resource, ResourceContents,
    ResourceUpdatedNotificationParam, ServerCapabilities, ServerConfig, SubscribeRequestParams,
    SubscriptionFilter, Tool, ToolAnnotations, UnsubscribeRequestParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::{RoleServer, ServerHandler};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use zeta_bus::messages::inbox;
use zeta_os::error::{Error, Kind};
use zeta_state::context::Context;
use zeta_state::presence::status;

use crate::answer::Answer;
use crate::ending::End;
use crate::news::{News, TOGETHER};
use crate::tool;
use crate::waiting::Caller;
use crate::worker::{Call, Handle, Job};

/// The key of the answer for programs, in the metadata of a result.
const ANSWER: &str = "zeta/answer";
/// The one resource: what `zeta status --json` prints.
const STATE: &str = "zeta://state";

/// How many calls of a client may be open at once.
const OPEN_MAX: usize = 64;

/// The server, as the protocol's library calls it.
pub struct Server {
    worker: Handle,
    end: Arc<End>,
    ctx: Context,
    news: News,
    /// The calls that may be open at once.
    open: Arc<Semaphore>,
    /// The subscription of a client of the older era.
    subscribed: Mutex<Option<JoinHandle<()>>>,
    /// The news since each subscription that was accepted and does not listen yet.
    accepted: Mutex<VecDeque<watch::Receiver<u64>>>,
}

impl Server {
    /// Makes a server.
    pub fn new(worker: Handle, end: Arc<End>, ctx: Context) -> Server {
        let news = News::new(ctx.state_dir.clone());
        let (subscribed, accepted) = (Mutex::default(), Mutex::default());
        let open = Arc::new(Semaphore::new(OPEN_MAX));
        Server { worker, end, ctx, news, open, subscribed, accepted }
    }

    async fn call(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<Answer, ErrorData> {
        let Some(tool) = tool::all().iter().find(|tool| tool.name == request.name) else {
            let known: Vec<&str> = tool::all().iter().map(|tool| tool.name).collect();
            let text = format!("there is no tool {:?}: {}", request.name, known.join(", "));
            return Err(ErrorData::invalid_params(text, None));
        };
        let args = tool::check(tool, request.arguments.unwrap_or_default());
        let Ok(open) = self.open.clone().try_acquire_owned() else {
            let text = format!("{OPEN_MAX} calls are open already: wait for their answers");
            return Ok(Answer::fault(&Error::new(Kind::Busy, text)));
        };
        let (reply, mut answer) = oneshot::channel();
        let (progress, mut said) = mpsc::unbounded_channel();
        let client = context.client_info().map(|info| info.name);
        let (call, until) = (context.id.clone(), Instant::now());
        let caller = Caller { call: call.clone(), until, reply, progress, _open: open };
        self.worker.send(Job::Call(Box::new(Call { tool, args, client, caller })));
        let mut rounds = 0.0;
        loop {
            tokio::select! {
                // First: the library drops the answer to a call that was cancelled by now.
                biased;
                () = context.ct.cancelled() => {
                    self.worker.send(Job::Cancel(call));
                    return Err(ErrorData::new(ErrorCode::INTERNAL_ERROR, "cancelled", None));
                }
                answer = &mut answer => {
                    return answer.map_err(|_| ended());
                }
                Some(text) = said.recv() => {
                    rounds += 1.0;
                    if let Some(token) = context.meta.get_progress_token() {
                        let mut param = ProgressNotificationParam::new(token, rounds);
                        param.message = Some(text);
                        let _ = context.peer.notify_progress(param).await;
                    }
                }
            }
        }
    }

    fn state(&self) -> Result<String, Error> {
        let mut view = status::open(&self.ctx, false)?;
        view.unread = inbox::counts(&self.ctx.bus_dir);
        let mut text = String::new();
        status::json::write(&view, &self.ctx, |piece| text.push_str(piece));
        Ok(text)
    }

    fn accepted(&self) -> MutexGuard<'_, VecDeque<watch::Receiver<u64>>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace_subscription(&self, task: Option<JoinHandle<()>>) {
        let mut subscribed = self.subscribed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = std::mem::replace(&mut *subscribed, task) {
            before.abort();
        }
    }
}

fn ended() -> ErrorData {
    ErrorData::internal_error("the server ends, because its client has", None)
}

fn unknown_resource(uri: &str) -> ErrorData {
    ErrorData::resource_not_found(format!("there is no resource {uri:?}: {STATE}"), None)
}

/// Returns at the next change; what follows within a short time belongs to it. False if there are
/// no more news.
async fn next(news: &mut watch::Receiver<u64>) -> bool {
    if news.changed().await.is_err() {
        return false;
    }
    tokio::time::sleep(TOGETHER).await;
    news.mark_unchanged();
    true
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_resources_subscribe()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("zeta", env!("CARGO_PKG_VERSION")))
            .with_instructions(tool::INSTRUCTIONS)
    }

    fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<ListToolsResult, ErrorData>> + Send + '_ {
        let one = |tool: &tool::Tool| {
            let listed = Tool::new(tool.name, tool.about, tool.schema.clone());
            match tool.reads {
                true => listed.with_annotations(ToolAnnotations::new().read_only(true)),
                false => listed,
            }
        };
        let tools = tool::all().iter().map(one).collect();
        std::future::ready(Ok(ListToolsResult::with_all_items(tools)))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let answer = self.call(request, context).await?;
        let content = vec![ContentBlock::text(answer.text)];
        let mut result = match answer.is_error {
            true => CallToolResult::error(content),
            false => CallToolResult::success(content),
        };
        // Not as `structuredContent`: Claude Code shows its model that in place of the text.
        let mut meta = MetaObject::new();
        meta.0.insert(ANSWER.to_owned(), Value::Object(answer.object));
        result.meta = Some(meta);
        Ok(result.into())
    }

    fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<ListResourcesResult, ErrorData>> + Send + '_ {
        let state = Resource::new(STATE, "state")
            .with_description("All agents of this machine, what they do and hold, what is wrong")
            .with_mime_type("application/json");
        std::future::ready(Ok(ListResourcesResult::with_all_items(vec![state])))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if request.uri != STATE {
            return Err(unknown_resource(&request.uri));
        }
        let text = self.state().map_err(|error| ErrorData::internal_error(error.text, None))?;
        let contents = ResourceContents::text(text, STATE).with_mime_type("application/json");
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        let uris = requested.resource_subscriptions.iter().flatten();
        let known: Vec<String> = uris.filter(|uri| *uri == STATE).cloned().collect();
        if !known.is_empty() {
            self.accepted().push_back(self.news.subscribe());
        }
        Some(SubscriptionFilter::builder().resource_subscriptions(known).build())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let accepted = self.accepted().pop_front();
        let mut news = accepted.unwrap_or_else(|| self.news.subscribe());
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                () = self.end.come() => return Ok(()),
                more = next(&mut news) => {
                    if !more || context.sink().notify_resource_updated(STATE).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if request.uri != STATE {
            return Err(unknown_resource(&request.uri));
        }
        let (mut news, peer) = (self.news.subscribe(), context.peer);
        self.replace_subscription(Some(tokio::spawn(async move {
            while next(&mut news).await {
                let update = ResourceUpdatedNotificationParam::new(STATE);
                if peer.notify_resource_updated(update).await.is_err() {
                    break;
                }
            }
        })));
        Ok(())
    }

    /// A cancellation that crosses the answer on its way: the client will not read that.
    fn on_cancelled(
        &self,
        cancelled: CancelledNotificationParam,
        _: NotificationContext<RoleServer>,
    ) -> impl Future<Output = ()> + Send + '_ {
        cancelled.request_id.into_iter().for_each(|call| self.worker.send(Job::Cancel(call)));
        std::future::ready(())
    }

    async fn unsubscribe(
        &self,
        _: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.replace_subscription(None);
        Ok(())
    }
}
