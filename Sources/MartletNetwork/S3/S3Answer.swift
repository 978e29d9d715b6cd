import MartletXML
import MartletXMPP
package import NIOCore

/// A page of a bucket's list of objects (ListObjectsV2). Pure.
package struct S3Listing: Hashable, Sendable {
    /// Keys, with sizes in bytes.
    package var objects: [String: Int] = [:]
    /// What keys begin with, up to the delimiter.
    package var prefixes: [String] = []
    /// What the next page is asked for with; `nil` if this is the last.
    package var continuation: String?

    /// Objects of a page that is asked for.
    package static let objectsMax = 500
    /// Longest one, in bytes: a key has up to 1,024, each perhaps written as a reference.
    package static let bytesMax = 4 << 20

    package init() {}

    /// `nil` if it cannot be understood: nobody concludes from half a list what is not there.
    package init?(_ bytes: ByteBuffer) {
        guard let root = S3Document.root(bytes), root.localName == "ListBucketResult" else { return nil }
        for child in root.children {
            switch child.localName {
            case "Contents":
                guard let key = child.child("Key")?.text, let size = child.child("Size").flatMap({ Int($0.text) }), size >= 0 else { return nil }
                objects[key] = size
            case "CommonPrefixes":
                guard let prefix = child.child("Prefix")?.text else { return nil }
                prefixes.append(prefix)
            default: break
            }
        }
        guard root.child("IsTruncated")?.text == "true" else { return }
        guard let next = root.child("NextContinuationToken")?.text, !next.isEmpty else { return nil }
        continuation = next
    }
}

/// What a service says when it does not do what was asked.
package struct S3Refusal: Error, Hashable, Sendable, CustomStringConvertible {
    package var status: Int
    /// One of the service's words, such as `AccessDenied`; empty if it gave none.
    package var code: String

    /// Longest content that is read of one, in bytes.
    package static let bytesMax = 65_536
    /// Longest word that is believed to be one, in bytes.
    private static let codeBytesMax = 64

    package init(status: Int, _ content: ByteBuffer) {
        self.status = status
        let code = S3Document.root(content).flatMap { $0.localName == "Error" ? $0.child("Code")?.text : nil } ?? ""
        // It becomes part of a line in the log.
        let isWord = code.utf8.count <= Self.codeBytesMax && code.utf8.allSatisfy { UInt8(ascii: "0")...UInt8(ascii: "z") ~= $0 }
        self.code = isWord ? code : ""
    }

    /// There is no such object. Of a bucket that is not there nothing is known.
    package var isMissing: Bool { status == 416 || status == 404 && ["", "NoSuchKey"].contains(code) }
    /// No space, as some services say it.
    package var isFull: Bool { status == 507 || code.contains("Quota") || code.contains("StorageFull") }
    package var description: String { "it answered with status \(status)" + (code.isEmpty ? "" : " \(code)") }
}

/// XML as services write it: with a declaration, and in whatever namespace.
private enum S3Document {
    static let limits = XMLLimits(
        stanzaBytesMax: S3Listing.bytesMax, depthMax: 16, elementsMax: 32 * S3Listing.objectsMax, nodesMax: 128 * S3Listing.objectsMax)

    static func root(_ bytes: ByteBuffer) -> ElementView? {
        var bytes = bytes
        if bytes.readableBytesView.starts(with: "<?xml".utf8) {
            guard let end = bytes.readableBytesView.firstIndex(of: UInt8(ascii: ">")) else { return nil }
            bytes.moveReaderIndex(to: end + 1)
        }
        return (try? parseElement(bytes, limits: limits, defaultNamespace: .none))?.root
    }
}

extension ElementView {
    fileprivate func child(_ name: String) -> ElementView? { children.first { $0.localName == name } }
}
