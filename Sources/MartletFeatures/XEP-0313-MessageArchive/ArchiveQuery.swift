package import MartletCore
package import MartletXML
package import MartletXMPP

extension Namespace {
    package static let archive: Namespace = "urn:xmpp:mam:2"
    package static let archiveExtended: Namespace = "urn:xmpp:mam:2#extended"
    /// Announces the field `include-groupchat`, also where there is no groupchat to include (§7).
    package static let archiveGroupchatField: Namespace = "urn:xmpp:mam:2#groupchat-field"
    package static let archiveFullText: Namespace = "urn:xmpp:fulltext:0"
}

/// What somebody wants to see of an archive: filters, a page of what passes them, and how it is sent (§4).
package struct ArchiveQuery: Hashable, Sendable {
    /// Items on a page where the request does not say.
    package static let pageUsual = 50
    /// Most items on a page (§4.3.1: "a server MAY place a reasonable limit").
    package static let pageMax = 250
    /// Most messages that can be asked for by name in one request.
    package static let idsMax = 100
    /// Longest `queryid`, in bytes of UTF-8: it is repeated in every result.
    package static let queryIDBytesMax = 256
    /// Longest text to search for, in bytes of UTF-8.
    package static let textBytesMax = 1_024

    package enum Page: Hashable, Sendable {
        case first, last
        case after(UInt64)
        case before(UInt64)
    }

    /// Repeated in the results, so that the client knows which query they belong to.
    package var queryID: String?
    /// The other party: of a bare address all its resources, of a full one only that (§4.1.1).
    package var with: JID?
    /// Milliseconds since 1970; what was taken then passes (§4.1.2).
    package var start: Int64?
    package var end: Int64?
    package var beforeID: UInt64?
    package var afterID: UInt64?
    /// Only these, if there are any.
    package var ids: [UInt64] = []
    /// To be found in the message (XEP-0431).
    package var text: String?
    /// Whether messages of rooms are wanted. Accounts keep none, so both answers are the same.
    package var includesGroupchat: Bool?
    package var page = Page.first
    /// Items on the page, at most ``pageMax``; with 0 it is asked how many there are (XEP-0059 §2.7).
    package var limit = Self.pageUsual
    /// Whether the page is sent with its last item first (§4.3.4).
    package var isFlipped = false

    package init() {}
}

extension ArchiveQuery {
    /// Reads the `<query/>` of a `set`.
    ///
    /// Throws `feature-not-implemented` for fields that are not known (§4.1.5) and for pages by number (XEP-0059 §2.6), `item-not-found`
    /// for names that this server never gives and for nodes, which archives of accounts do not have, `bad-request` and `policy-violation`
    /// otherwise.
    package init(_ query: ElementView) throws(StanzaError) {
        if query.hasAttribute("node") { throw .itemNotFound() }
        try self.init(content: query)
    }

    /// The same of a query that is about a node: what only messages have is not known there (XEP-0442).
    package init(ofItems query: ElementView) throws(StanzaError) {
        try self.init(content: query)
        let unknown = [("with", with != nil), ("include-groupchat", includesGroupchat != nil), (Self.textField, text != nil)]
        if let (name, _) = unknown.first(where: \.1) { throw StanzaError(.featureNotImplemented, text: "no such field: \(name)") }
    }

    private init(content query: ElementView) throws(StanzaError) {
        self.init()
        queryID = query.attribute("queryid")
        guard queryID?.utf8.count ?? 0 <= Self.queryIDBytesMax else {
            throw .policyViolation("a queryid may have \(Self.queryIDBytesMax) bytes")
        }
        isFlipped = query.hasChild("flip-page", .archive)
        try read(ResultSetRequest(in: query))
        let forms = query.children.filter { $0.isNamed("x", .dataForms) }
        guard forms.count <= 1 else { throw .badRequest("a query has one form") }
        if let form = forms.first { try read(FormSubmission(try DataForm(form), type: Namespace.archive.name)) }
    }

    private mutating func read(_ request: ResultSetRequest) throws(StanzaError) {
        limit = request.limit(usual: Self.pageUsual, most: Self.pageMax)
        switch request.page {
        case .first: page = .first
        case .last: page = .last
        case .after(let name): page = .after(try Self.id(name))
        case .before(let name): page = .before(try Self.id(name))
        case .index: throw StanzaError(.featureNotImplemented, text: "pages are asked for by name")
        }
    }

    private mutating func read(_ submission: FormSubmission) throws(StanzaError) {
        var form = submission
        with = try form.address("with")
        start = try form.dateTime("start")
        end = try form.dateTime("end")
        beforeID = try form.text("before-id").map { name throws(StanzaError) in try Self.id(name) }
        afterID = try form.text("after-id").map { name throws(StanzaError) in try Self.id(name) }
        let names = try form.texts("ids")
        guard names.count <= Self.idsMax else { throw .policyViolation("a query may name \(Self.idsMax) messages") }
        ids = try names.map { name throws(StanzaError) in try Self.id(name) }
        includesGroupchat = try form.boolean("include-groupchat")
        text = try form.text(Self.textField)
        guard text?.utf8.count ?? 0 <= Self.textBytesMax else { throw .policyViolation("a search may have \(Self.textBytesMax) bytes") }
        // XEP-0431 §2.2: only a text that is not empty is searched for.
        if text?.isEmpty == true { text = nil }
        try form.finish { StanzaError(.featureNotImplemented, text: "no such field: \($0)") }
    }

    /// What is no name of ours is the name of no message of ours (§4.1.3, §4.3.2).
    private static func id(_ name: String) throws(StanzaError) -> UInt64 {
        guard let id = StanzaIDs.id(of: name) else { throw .itemNotFound() }
        return id
    }

    // MARK: What the store is asked

    /// The page that answers the query. Whatever the client named has to be in the archive (§4.1.3, §4.3.2). How many messages there are is
    /// said of all that pass the filters, wherever the page begins.
    package var request: ArchiveRequest {
        var request = ArchiveRequest(limit: limit)
        request.peer = with
        request.start = start
        request.end = end
        request.after = afterID
        request.before = beforeID
        request.ids = ids.isEmpty ? nil : Set(ids)
        request.text = text
        request.named = Set(ids + [beforeID, afterID].compactMap { $0 })
        switch page {
        case .first: break
        case .last: request.isBackwards = true
        case .after(let id):
            if limit > 0 { request.after = max(id, afterID ?? 0) }
            request.named.insert(id)
        case .before(let id):
            if limit > 0 { request.before = min(id, beforeID ?? .max) }
            request.named.insert(id)
            request.isBackwards = true
        }
        return request
    }

    // MARK: The form

    /// The field of XEP-0431.
    private static let textField = "{urn:xmpp:fulltext:0}fulltext"

    /// What can be filled in (§4.1.5).
    package static func form() -> DataForm {
        var ids = DataForm.Field("ids", .listMulti)
        ids.validation = .init(datatype: "xs:string", isOpen: true)
        let fields: [DataForm.Field] = [
            .init("with", .jidSingle), .init("start", .textSingle), .init("end", .textSingle), .init("before-id", .textSingle),
            .init("after-id", .textSingle), ids, .init("include-groupchat", .boolean),
            .init(textField, .textSingle),
        ]
        return DataForm(.form, type: Namespace.archive.name, fields: fields)
    }

    /// The same of a node.
    package static func formOfItems() -> DataForm {
        var form = form()
        form.fields.removeAll { ["with", "include-groupchat", textField].contains($0.name) }
        return form
    }
}
