//! gRPC by the bytes: every method of the descriptors, called with messages that are made from JSON or are none.

use anyhow::Context;
use prost::{
    Message as _,
    bytes::{Buf, BufMut, Bytes},
    encoding::encode_varint,
};
use prost_types::{
    DescriptorProto, FileDescriptorProto, FileDescriptorSet, field_descriptor_proto::Label,
    field_descriptor_proto::Type,
};
use serde_json::Value;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

/// A codec that leaves the bytes as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// The descriptors of `elbow.v1`.
pub(crate) fn package() -> FileDescriptorProto {
    let all = FileDescriptorSet::decode(wire::DESCRIPTORS).unwrap();
    let mut files = all.file.into_iter();
    files.find(|file| file.package() == "elbow.v1").unwrap()
}

/// The message of a request, by the name of its method, e.g. `ClusterService/GetCluster`.
pub(crate) fn request_of(package: &FileDescriptorProto, rpc: &str) -> DescriptorProto {
    let (service, method) = rpc.split_once('/').unwrap();
    let service = package.service.iter().find(|it| it.name() == service).unwrap();
    let method = service.method.iter().find(|it| it.name() == method).unwrap();
    message(package, method.input_type()).clone()
}

fn message<'a>(package: &'a FileDescriptorProto, name: &str) -> &'a DescriptorProto {
    let short = name.rsplit('.').next().unwrap();
    package.message_type.iter().find(|it| it.name() == short).unwrap()
}

/// `value` as a message: each field that it has, by its JSON name.
pub(crate) fn encode(package: &FileDescriptorProto, of: &DescriptorProto, value: &Value) -> Bytes {
    let mut bytes = Vec::new();
    for field in &of.field {
        let given = &value[field.json_name()];
        let items = match (field.label(), given) {
            (_, Value::Null) => continue,
            (Label::Repeated, Value::Array(items)) => items.clone(),
            _ => vec![given.clone()],
        };
        for item in items {
            let tag = u64::from(field.number().unsigned_abs()) << 3;
            let delimited = match (field.r#type(), &item) {
                (Type::String | Type::Bytes, Value::String(text)) => Bytes::from(text.clone().into_bytes()),
                (Type::Message, item) => encode(package, message(package, field.type_name()), item),
                (_, Value::Bool(set)) => {
                    encode_varint(tag, &mut bytes);
                    encode_varint(u64::from(*set), &mut bytes);
                    continue;
                }
                (_, Value::Number(number)) => {
                    encode_varint(tag, &mut bytes);
                    encode_varint(number.as_u64().unwrap(), &mut bytes);
                    continue;
                }
                (kind, item) => panic!("{}: {item} is no {kind:?}", field.json_name()),
            };
            encode_varint(tag | 2, &mut bytes);
            encode_varint(delimited.len() as u64, &mut bytes);
            bytes.put(delimited);
        }
    }
    bytes.into()
}

/// Who calls, by bytes.
pub(crate) struct Client {
    channel: Channel,
}

impl Client {
    pub(crate) async fn new(url: &str) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned())?;
        Ok(Self {
            channel: endpoint.connect().await.context("cannot connect")?,
        })
    }

    /// Calls a method of `elbow.v1` and hears its first answer.
    pub(crate) async fn call(&self, rpc: &str, token: Option<&str>, message: Bytes) -> Result<Bytes, Status> {
        self.send(&format!("/elbow.v1.{rpc}"), token, vec![message]).await
    }

    /// Sends messages to any method and hears its first answer.
    pub(crate) async fn send(
        &self,
        path: &str,
        token: Option<&str>,
        messages: Vec<Bytes>,
    ) -> Result<Bytes, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_encoding_message_size(usize::MAX);
        let ready = grpc.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(tokio_stream::iter(messages));
        if let Some(token) = token {
            let bearer = MetadataValue::try_from(format!("Bearer {token}"))
                .map_err(|error| Status::unauthenticated(error.to_string()))?;
            request.metadata_mut().insert("authorization", bearer);
        }
        let answer = grpc.streaming(request, path.parse().unwrap(), Raw).await?;
        let mut answers = answer.into_inner();
        let first = answers.message().await?.unwrap_or_default();
        // A refusal may follow what was said before it.
        while answers.message().await?.is_some() {}
        Ok(first)
    }
}
