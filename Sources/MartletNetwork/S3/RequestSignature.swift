import Crypto
import MartletCore

/// Signature Version 4 of Amazon Web Services: a request is signed with a key that is made of a secret, the day, the region and the service, so
/// that whoever sees it can say nothing else in its owner's name, and this not for long. Pure.
package struct RequestSignature: Sendable {
    /// What stands in place of a content's digest where the content is not signed: TLS protects it, and it is not in memory when the head is sent.
    package static let unsignedContent = "UNSIGNED-PAYLOAD"

    package var accessKey: String
    package var secret: [UInt8]
    package var region: String
    package var service: String

    package init(accessKey: String, secret: [UInt8], region: String, service: String = "s3") {
        (self.accessKey, self.secret, self.region, self.service) = (accessKey, secret, region, service)
    }

    /// What is signed of a request.
    package struct Subject: Sendable {
        package var method: String
        /// As it is written in the request, without the query.
        package var path: String
        /// Names and values, as they are meant.
        package var query: [(name: String, value: String)] = []
        /// Fields that are signed: names in lower case, values as they are sent. `host` is one of them.
        package var headers: [(name: String, value: String)]
        /// SHA-256 of the content in hexadecimal digits, or ``unsignedContent``.
        package var content: String

        package init(
            _ method: String, _ path: String, query: [(name: String, value: String)] = [], headers: [(name: String, value: String)], content: String
        ) {
            (self.method, self.path, self.query, self.headers, self.content) = (method, path, query, headers, content)
        }

        /// The query as it is signed, and as it is to be written in the request.
        package var canonicalQuery: String {
            query.map { (PercentEncoding.encoded($0.name), PercentEncoding.encoded($0.value)) }.sorted { $0 < $1 }.map { "\($0)=\($1)" }.joined(separator: "&")
        }

        fileprivate var signedHeaders: String { headers.map(\.name).sorted().joined(separator: ";") }

        fileprivate var canonical: String {
            let fields = headers.sorted { $0.name < $1.name }.map { "\($0.name):\($0.value)\n" }.joined()
            return [method, path, canonicalQuery, fields, signedHeaders, content].joined(separator: "\n")
        }
    }

    /// The value of the field `Authorization`.
    ///
    /// - Parameter moment: as in the field `x-amz-date`, which is one of those that are signed: `20130524T000000Z`.
    package func authorization(for subject: Subject, at moment: String) -> String {
        let scope = "\(moment.prefix(8))/\(region)/\(service)/aws4_request"
        let text = ["AWS4-HMAC-SHA256", moment, scope, Self.digest(Array(subject.canonical.utf8))].joined(separator: "\n")
        let signature = CertificateRecords.hexadecimal(Self.code(text, key(on: String(moment.prefix(8)))))
        return "AWS4-HMAC-SHA256 Credential=\(accessKey)/\(scope),SignedHeaders=\(subject.signedHeaders),Signature=\(signature)"
    }

    private func key(on day: String) -> SymmetricKey {
        var key = SymmetricKey(data: Array("AWS4".utf8) + secret)
        for part in [day, region, service, "aws4_request"] { key = SymmetricKey(data: Self.code(part, key)) }
        return key
    }

    private static func code(_ text: String, _ key: SymmetricKey) -> HMAC<SHA256>.MAC { HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: key) }

    /// In hexadecimal digits.
    package static func digest(_ content: [UInt8]) -> String { CertificateRecords.hexadecimal(SHA256.hash(data: content)) }
}
