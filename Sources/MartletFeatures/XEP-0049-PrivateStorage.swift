package import MartletCore
package import MartletXML
import MartletXMPP
import NIOCore

extension Namespace {
    package static let privateStorage: Namespace = "jabber:iq:private"
}

/// What clients keep for themselves on the server, by element name and namespace; for the owner only.
///
/// An element without attributes and content takes no place: setting it removes what was there.
package struct PrivateStorage: IQResponder {
    package static let specification = Specification.xep(49, "Private XML Storage", version: "1.2")
    package let disco = DiscoFeatures.everywhere(.privateStorage)
    /// Elements in one request.
    package static let elementsPerRequestMax = 16
    /// Longest name of an element with its namespace, in bytes of UTF-8. They are kept in one document, which has to stay readable.
    package static let keyBytesMax = 1_024
    /// Where bookmarks are; `nil` where they are kept as everything else.
    private let eventing: PersonalEventing?
    /// What is set, and the list of it, are read and written in turn, which others must not come between: their lines would be lost.
    private let turns = Turns<AccountID>()

    package init(eventing: PersonalEventing? = nil) { self.eventing = eventing }

    package var routes: [IQRoute] {
        [
            .suspending(.get, "query", .privateStorage) { request, router async throws(StanzaError) in
                try await Self.get(request, router.store, ownNodes(of: request, router))
            },
            .suspending(.set, "query", .privateStorage) { request, router async throws(StanzaError) in
                guard let account = request.account else { throw .serviceUnavailable }
                guard await turns.enter(account) else { throw .resourceConstraint("too many sessions set something at once") }
                defer { turns.leave(account) }
                return try await Self.set(request, router.store, ownNodes(of: request, router))
            },
        ]
    }

    private func ownNodes(of request: IQRequest, _ router: Router) -> OwnNodes? {
        guard let eventing, let mailbox = request.mailbox, let account = request.account else { return nil }
        return OwnNodes(eventing: eventing, account: request.owner, id: account, router: router, mailbox: mailbox)
    }

    // MARK: Get

    /// What was never set is returned as it was asked for (§2).
    private static func get(_ request: IQRequest, _ store: any Store, _ nodes: OwnNodes?) async throws(StanzaError) -> IQReply {
        guard let account = request.account else { throw .serviceUnavailable }
        var writer = XMLWriter()
        writer.open("query", .privateStorage)
        for element in try elements(of: request) {
            if let nodes, Bookmarks.isList(element) {
                writer.raw(try await Bookmarks.list(nodes, for: request.actor))
            } else if let document = try await read(account, DocumentKey(element), store) {
                writer.raw(document)
            } else {
                writer.open(copying: element)
                writer.close()
            }
        }
        writer.close()
        return IQReply(payload: writer.buffer)
    }

    // MARK: Set

    /// One at a time for each account: what is read is what there is when it is written.
    private static func set(_ request: IQRequest, _ store: any Store, _ nodes: OwnNodes?) async throws(StanzaError) -> IQReply {
        guard let account = request.account, let limits = request.host?.limits else { throw .serviceUnavailable }
        var index = try PrivateIndex(try await read(account, PrivateIndex.key, store))
        var writes: [Write] = []
        for element in try elements(of: request) {
            if let nodes, Bookmarks.isList(element) {
                try await Bookmarks.setList(element, nodes, by: request.actor)
                continue
            }
            let key = DocumentKey(element)
            guard key.key.utf8.count <= keyBytesMax else { throw .policyViolation("a name may have \(keyBytesMax) bytes") }
            if isEmpty(element) {
                index.sizes[key.key] = nil
                writes.append(.document(account, key, nil))
            } else {
                var writer = XMLWriter(contentNamespace: .none)
                writer.append(element)
                guard writer.buffer.readableBytes <= limits.privateBytesMax else {
                    throw .policyViolation("an account may keep \(limits.privateBytesMax) bytes")
                }
                index.sizes[key.key] = writer.buffer.readableBytes
                writes.append(.document(account, key, writer.buffer))
            }
        }
        guard index.sizes.count <= limits.privateElementsMax else {
            throw .resourceConstraint("an account may keep \(limits.privateElementsMax) elements")
        }
        guard index.byteCount <= limits.privateBytesMax else {
            throw .resourceConstraint("an account may keep \(limits.privateBytesMax) bytes")
        }
        if writes.isEmpty { return .empty }
        writes.append(.document(account, PrivateIndex.key, index.encoded))
        do throws(StoreError) { try await store.commit(writes) }
        catch { throw error == .full ? .resourceConstraint("the server has no space left") : StanzaError(.internalServerError, .wait) }
        return .empty
    }

    private static func isEmpty(_ element: ElementView) -> Bool {
        var attributes = element.attributes
        return attributes.next() == nil && element.content.isEmpty
    }

    // MARK: Both

    private static func elements(of request: IQRequest) throws(StanzaError) -> [ElementView] {
        let elements = Array(request.child.children)
        guard !elements.isEmpty else { throw .badRequest("the request names no element") }
        guard elements.count <= elementsPerRequestMax else { throw .policyViolation("more than \(elementsPerRequestMax) elements") }
        for element in elements where element.isIn(.none) || element.isIn(.client) || element.isIn(.privateStorage) {
            throw .notAcceptable("an element has a namespace of its own")
        }
        return elements
    }

    private static func read(_ account: AccountID, _ key: DocumentKey, _ store: any Store) async throws(StanzaError) -> ByteBuffer? {
        do throws(StoreError) { return try await store.document(account, key) }
        catch { throw StanzaError(.internalServerError, .wait) }
    }
}

// MARK: Moving accounts (XEP-0227)

extension PrivateStorage {
    /// All that an account keeps, in the order of the names.
    static func all(of account: AccountID, _ store: any Store) async throws(StoreError) -> [ByteBuffer] {
        var elements: [ByteBuffer] = []
        for key in try await index(of: account, store).sizes.keys.sorted() {
            if let element = try await store.document(account, DocumentKey(namespace: Namespace.privateStorage.name, key: key)) { elements.append(element) }
        }
        return elements
    }

    /// Throws ``StoreError/corrupt(_:)`` where it cannot be read.
    static func index(of account: AccountID, _ store: any Store) async throws(StoreError) -> PrivateIndex {
        let document = try await store.document(account, PrivateIndex.key)
        do throws(StanzaError) { return try PrivateIndex(document) } catch { throw .corrupt("the list of private elements of account \(account.raw)") }
    }

    /// Keeps an element as if its owner had set it.
    ///
    /// - Returns: `nil` where it is more than an account may keep; then the index is as it was.
    static func write(keeping element: ElementView, in index: inout PrivateIndex, of account: AccountID, _ limits: HostLimits) -> Write? {
        let key = DocumentKey(element)
        var writer = XMLWriter(contentNamespace: .none)
        writer.append(element)
        var changed = index
        changed.sizes[key.key] = writer.buffer.readableBytes
        guard key.key.utf8.count <= keyBytesMax, changed.sizes.count <= limits.privateElementsMax, changed.byteCount <= limits.privateBytesMax
        else { return nil }
        index = changed
        return .document(account, key, writer.buffer)
    }
}

extension DocumentKey {
    fileprivate init(_ element: ElementView) {
        self.init(namespace: Namespace.privateStorage.name, key: "{\(element.namespaceName)}\(element.localName)")
    }
}

/// Which elements an account keeps, and how many bytes each has: a document beside them, because a store is only asked for
/// documents by name.
struct PrivateIndex {
    /// No element has an empty name.
    static let key = DocumentKey(namespace: Namespace.privateStorage.name)
    /// By key.
    var sizes: [String: Int] = [:]

    /// Of all elements, as they are stored.
    var byteCount: Int { sizes.values.reduce(0) { $0 &+ $1 } }

    init(sizes: [String: Int]) { self.sizes = sizes }

    init(_ document: ByteBuffer?) throws(StanzaError) {
        guard let document else { return }
        do throws(XMLError) {
            let index = try parseElement(document, limits: .ownWriting, defaultNamespace: .none)
            for key in index.children { sizes[key.text] = key.attribute("bytes").flatMap { Int($0) } ?? 0 }
        } catch { throw .internalServerError }
    }

    var encoded: ByteBuffer {
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("keys", .none) { writer in
            for (key, size) in sizes.sorted(by: { $0.key < $1.key }) {
                writer.element("key", .none, ["bytes": String(size)], text: key)
            }
        }
        return writer.buffer
    }
}
