package import MartletCore
package import NIOHTTP1

/// A bucket of a service that speaks S3, as Amazon's does, with who uses it and where his files are in it.
package struct S3Bucket: Sendable {
    /// Where the service is. Its path counts for nothing.
    package var endpoint: HTTPURL
    package var name: String
    package var region = "us-east-1"
    package var accessKey: String
    package var secret: [UInt8]
    /// Whether the bucket is named in paths; else it is in the name of the host.
    package var isInPath = false
    /// What the names of all files begin with: nothing, or something that ends with a slash.
    package var prefix = ""

    package init(endpoint: HTTPURL, name: String, accessKey: String, secret: [UInt8]) {
        (self.endpoint, self.name, self.accessKey, self.secret) = (endpoint, name, accessKey, secret)
    }

    /// What to connect to.
    package var host: String {
        let host =
            switch endpoint.host {
            case .name(let name): name.description
            case .address(let address): "\(address)"
            }
        return isInPath ? host : "\(name).\(host)"
    }

    private var authority: String { isInPath ? endpoint.authority : "\(name).\(endpoint.authority)" }

    /// For the operator.
    package var description: String { "\(endpoint.scheme.rawValue)://\(authority)/\(isInPath ? "\(name)/" : "")\(prefix)" }

    // MARK: Names of files

    package func key(of owner: AccountID) -> String { "\(prefix)\(owner.raw)/" }
    package func key(of file: FileKey) -> String { key(of: file.owner) + file.name }

    // MARK: Requests

    /// What is asked of the service.
    package struct Request: Sendable {
        package var method: HTTPMethod
        /// Of an object; empty for the bucket itself.
        package var key: String
        package var query: [(name: String, value: String)] = []
        /// Names in lower case.
        package var headers: [(name: String, value: String)] = []
        package var content = RequestSignature.digest([])

        package init(_ method: HTTPMethod, _ key: String) { (self.method, self.key) = (method, key) }
    }

    /// - Parameter now: in milliseconds since 1970. The service takes nothing that is 15 minutes off.
    package func head(of request: Request, now: Int64) -> HTTPRequestHead {
        let path = "/" + [isInPath ? name : nil, request.key].compactMap(\.self).joined(separator: "/").split(separator: "/", omittingEmptySubsequences: false)
            .map { PercentEncoding.encoded(String($0)) }.joined(separator: "/")
        let moment = HTTPDate.basic(milliseconds: now)
        let headers = [("host", authority), ("x-amz-content-sha256", request.content), ("x-amz-date", moment)] + request.headers
        let subject = RequestSignature.Subject(
            request.method.rawValue, path, query: request.query, headers: headers.map { (name: $0.0, value: $0.1) }, content: request.content)
        let query = subject.canonicalQuery
        var head = HTTPRequestHead(version: .http1_1, method: request.method, uri: query.isEmpty ? path : "\(path)?\(query)")
        head.headers = HTTPHeaders(headers)
        let signature = RequestSignature(accessKey: accessKey, secret: secret, region: region)
        head.headers.add(name: "authorization", value: signature.authorization(for: subject, at: moment))
        head.headers.add(name: "connection", value: "close")
        return head
    }
}
