import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// All bookmarks of an account as one list (XEP-0048): those of rooms, which are items of the node, and the rest, for which the node has no place:
/// addresses of web pages (§2.2), whatever else clients put there, and what they say of rooms besides. The rest is a document of the account's, in the
/// form of a list; what it has of a room is shown while there is the item.
struct BookmarkList {
    /// Where the rest is kept.
    static let restKey = DocumentKey(namespace: Namespace.bookmarkStorage.name)
    /// Bytes of the rest, as it is stored.
    static let restBytesMax = 128 * 1024

    /// Each room once, with the name that its item has.
    private(set) var rooms: [(name: String, bookmark: Bookmark)] = []
    private var places: [BareJID: Int] = [:]
    private var rest: FlatElement?
    /// The rest as it is on disk.
    private(set) var restBytes: ByteBuffer?

    /// As it is.
    init(_ nodes: OwnNodes) async throws(StanzaError) {
        for item in try await nodes.items(of: Namespace.bookmarks.name) {
            if let bookmark = Bookmark(item) { add(bookmark, named: item.name) }
        }
        do throws(StoreError) { restBytes = try await nodes.router.store.document(nodes.id, Self.restKey) }
        catch { throw StanzaError(.internalServerError, .wait) }
        rest = restBytes.flatMap { try? parseElement($0, limits: .ownWriting, defaultNamespace: .none) }
    }

    /// As a client writes it: of several bookmarks of one room the first counts, the others are part of the rest.
    init(reading list: ElementView) {
        for element in list.children {
            if let bookmark = Bookmark(element) { add(bookmark, named: bookmark.room.description) }
        }
        rest = Self.rest(list, Self.pieces(of: list)).flatMap { try? parseElement($0, limits: .ownWriting, defaultNamespace: .none) }
    }

    private mutating func add(_ bookmark: Bookmark, named name: String) {
        guard places[bookmark.room] == nil else { return }
        places[bookmark.room] = rooms.count
        rooms.append((name, bookmark))
    }

    func has(_ room: BareJID) -> Bool { places[room] != nil }
    func entry(of room: BareJID) -> (name: String, bookmark: Bookmark)? { places[room].map { rooms[$0] } }

    // MARK: The whole

    var encoded: ByteBuffer {
        let pieces = rest.map { Array($0.root.children) } ?? []
        let older = Dictionary(grouping: pieces.filter { Bookmark.room(of: $0) != nil }) { Bookmark.room(of: $0) }
        var writer = XMLWriter(contentNamespace: .none)
        if let rest { writer.open(copying: rest.root) } else { writer.open("storage", .bookmarkStorage) }
        for (_, bookmark) in rooms {
            let own = older[bookmark.room] ?? []
            bookmark.write(with: own.first, to: &writer)
            for element in own.dropFirst() { writer.append(element) }
        }
        for element in pieces where Bookmark.room(of: element) == nil { writer.append(element) }
        writer.close()
        return writer.buffer
    }

    /// - Parameter bytes: as it is sent, if it is.
    func shown(as bytes: ByteBuffer?) -> ShownList {
        let others = rest?.root.children.filter { Bookmark.room(of: $0) == nil }.map(Self.part) ?? []
        return ShownList(content: bytes?.hashValue, parts: Set(rooms.map(\.bookmark.part) + others))
    }

    // MARK: The rest

    /// What there is of a list besides its items, with what is in another one and has not been seen; `nil` if there is nothing.
    func rest(keeping old: BookmarkList?, besides seen: Set<Int>) -> ByteBuffer? {
        let own = rest.map { Array($0.root.children) } ?? []
        let known = Set(own.map(Self.part))
        let kept = old?.rest?.root.children.filter { element in
            guard let room = Bookmark.room(of: element) else { return !seen.contains(Self.part(element)) && !known.contains(Self.part(element)) }
            guard let bookmark = old?.entry(of: room)?.bookmark else { return false }
            return !has(room) && !seen.contains(bookmark.part)
        } ?? []
        guard let root = rest?.root ?? old?.rest?.root else { return nil }
        return Self.rest(root, own + kept)
    }

    /// The rest as another server takes it (XEP-0227): the rooms are with the items.
    static func portable(_ rest: ByteBuffer) -> ByteBuffer? {
        guard let list = try? parseElement(rest, limits: .ownWriting, defaultNamespace: .none) else { return nil }
        return Self.rest(list.root, list.root.children.filter { Bookmark.room(of: $0) == nil })
    }

    /// What of a list the node has no place for.
    private static func pieces(of list: ElementView) -> [ElementView] {
        let counts = Dictionary(list.children.compactMap { element in Bookmark.room(of: element).map { ($0, 1) } }, uniquingKeysWith: +)
        return list.children.filter { element in
            guard let room = Bookmark.room(of: element) else { return true }
            return counts[room] != 1 || Bookmark.saysMore(element)
        }
    }

    private static func rest(_ list: ElementView, _ pieces: [ElementView]) -> ByteBuffer? {
        guard !pieces.isEmpty || list.attributes.contains(where: { _ in true }) else { return nil }
        var writer = XMLWriter(contentNamespace: .none)
        writer.open(copying: list)
        for element in pieces { writer.append(element) }
        writer.close()
        return writer.buffer
    }

    /// What names an element in a ``ShownList``.
    private static func part(_ element: ElementView) -> Int {
        var writer = XMLWriter(contentNamespace: .none)
        writer.append(element)
        return writer.buffer.hashValue
    }
}
