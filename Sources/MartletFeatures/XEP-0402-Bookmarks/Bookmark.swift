import MartletCore
import MartletXML
import MartletXMPP
import NIOCore

/// A room somebody wants to find again.
struct Bookmark {
    let room: BareJID
    let name: String?
    let isEnteredByItself: Bool
    let nickname: String?
    let password: String?
    /// `<extensions/>` (§4.1), as it is.
    let extensions: ByteBuffer?

    /// Of the newer kind.
    init?(_ item: NodeItem) {
        guard let room = try? BareJID(parsing: item.name), let element = try? parseElement(item.payload, limits: .ownWriting, defaultNamespace: .none),
            element.root.isNamed("conference", .bookmarks)
        else { return nil }
        self.init(element.root, room, .bookmarks)
    }

    /// Of the older kind.
    init?(_ element: ElementView) {
        guard let room = Self.room(of: element) else { return nil }
        self.init(element, room, .bookmarkStorage)
    }

    /// The room that an element of the older list is about; `nil` if it is about none.
    static func room(of element: ElementView) -> BareJID? {
        guard element.isNamed("conference", .bookmarkStorage) else { return nil }
        return element.attribute("jid").flatMap { try? BareJID(parsing: $0) }
    }

    private init(_ element: ElementView, _ room: BareJID, _ namespace: Namespace) {
        self.room = room
        name = element.attribute("name")
        isEnteredByItself = ["true", "1"].contains(element.attribute("autojoin") ?? "")
        nickname = element.firstChild("nick", namespace)?.text
        password = element.firstChild("password", namespace)?.text
        extensions = element.firstChild("extensions", .bookmarks).map { element in
            var writer = XMLWriter(contentNamespace: .none)
            writer.append(element)
            return writer.buffer
        }
    }

    /// What names it in a ``ShownList``.
    var part: Int { room.description.hashValue }

    /// But for extensions, which the older kind need not know.
    func isSame(as other: Bookmark) -> Bool {
        room == other.room && name == other.name && isEnteredByItself == other.isEnteredByItself && nickname == other.nickname
            && password == other.password
    }

    // MARK: Writing

    func payload(extensions known: ByteBuffer?) -> ByteBuffer {
        var writer = XMLWriter(contentNamespace: .none)
        writer.element("conference", .bookmarks, ["name": name, "autojoin": isEnteredByItself ? "true" : nil]) { writer in
            writeChildren(.bookmarks, extensions ?? known, to: &writer)
        }
        return writer.buffer
    }

    /// As the older kind.
    ///
    /// - Parameter older: what a client wrote of the older kind that the newer one has no place for.
    func write(with older: ElementView?, to writer: inout XMLWriter) {
        let autojoin = isEnteredByItself ? "true" : nil
        guard let older else {
            return writer.element("conference", .bookmarkStorage, ["jid": room.description, "name": name, "autojoin": autojoin]) { writer in
                writeChildren(.bookmarkStorage, extensions, to: &writer)
            }
        }
        writer.open(copying: older, setting: ["jid": room.description, "name": name, "autojoin": autojoin])
        writeChildren(.bookmarkStorage, extensions, to: &writer)
        for child in older.children where !Self.isKnown(child) { writer.append(child) }
        writer.close()
    }

    private func writeChildren(_ namespace: Namespace, _ extensions: ByteBuffer?, to writer: inout XMLWriter) {
        if let nickname { writer.element("nick", namespace, text: nickname) }
        if let password { writer.element("password", namespace, text: password) }
        if let extensions { writer.raw(extensions) }
    }

    // MARK: What only the older kind can say

    /// Whether an element of the older kind says more than a bookmark does.
    static func saysMore(_ element: ElementView) -> Bool {
        element.attributes.contains { !$0.isNamed("jid") && !$0.isNamed("name") && !$0.isNamed("autojoin") } || element.children.contains { !isKnown($0) }
    }

    private static func isKnown(_ child: ElementView) -> Bool {
        child.isNamed("nick", .bookmarkStorage) || child.isNamed("password", .bookmarkStorage) || child.isNamed("extensions", .bookmarks)
    }
}
