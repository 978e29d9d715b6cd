/// Why a peer's bytes were not taken. All of them end the stream.
public enum XMLError: Error, Hashable, Sendable {
    /// Against XML 1.0 or Namespaces in XML 1.0: `not-well-formed` (RFC 6120 §4.9.3.13).
    case notWellFormed
    /// A comment, processing instruction, document type or an entity that is not predefined: `restricted-xml` (RFC 6120 §11.1).
    case restrictedXML
    /// Another encoding than UTF-8, a byte order mark, or bytes that are not UTF-8: `unsupported-encoding` (RFC 6120 §4.9.3.22).
    case unsupportedEncoding
    /// A prefix nobody declared: `bad-namespace-prefix` (RFC 6120 §4.9.3.2).
    case badNamespacePrefix
    /// Characters other than white space between stanzas, or after the one element of a document: `bad-format` (RFC 6120 §4.9.3.1).
    case textBetweenStanzas
    /// The start tag of a stream's header inside the stream: `bad-format` (RFC 6120 §4.9.3.1). A stream has one header, and the end of
    /// this one would be waited for in vain.
    case secondHeader
    /// More than `XMLLimits` allows: `policy-violation` (RFC 6120 §4.9.3.14).
    case limitExceeded(Limit)

    /// Which of ``XMLLimits``.
    public enum Limit: Hashable, Sendable {
        case stanzaBytes, headerBytes, depth, attributes, elements, nodes, namespaces, nameBytes
    }
}
