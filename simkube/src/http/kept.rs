//! Objects that are kept as JSON: lists and watches of them, and Leases one by one.

use http::{Method, Response};

use super::{Exchange, response};
use crate::body::Body;
use crate::negotiate::JSON;
use crate::request::Expected;
use crate::status::Status;
use crate::{lease, objects};

impl Exchange {
    /// A list of objects that are kept as JSON, or a watch of them.
    pub(super) fn kept(
        &self,
        kind: &'static objects::Kind,
        namespace: Option<&str>,
    ) -> Result<Response<Body>, Status> {
        if self.query.flag("watch") {
            let watch = objects::watch(&self.shared, kind, namespace, &self.query)?;
            return Ok(response(200, JSON, watch));
        }
        let list = objects::list(&self.shared, kind, namespace, &self.query)?;
        Ok(self.json(200, &list))
    }

    pub(super) async fn one_lease<B>(
        &self,
        namespace: &str,
        name: &str,
        method: &Method,
        body: B,
    ) -> Result<Response<Body>, Status>
    where
        B: http_body::Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let shared = &self.shared;
        let dry = self.query.dry_run(&self.parts.method)?;
        let object = match *method {
            Method::GET => lease::get(shared, namespace, name)?,
            Method::PUT => {
                let body = self.read(body, Expected::Object("Lease")).await?;
                lease::replace(shared, namespace, name, body, dry)?
            }
            Method::DELETE => {
                let options = self.read(body, Expected::Options).await?;
                let gone = lease::delete(shared, namespace, name, &options, dry)?;
                return Ok(self.status(&gone));
            }
            _ => return Err(Status::method_not_allowed()),
        };
        Ok(self.json(200, &object))
    }
}
