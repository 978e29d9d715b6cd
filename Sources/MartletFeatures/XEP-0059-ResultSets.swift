package import MartletXML
package import MartletXMPP

extension Namespace {
    package static let resultSets: Namespace = "http://jabber.org/protocol/rsm"
}

/// Which page of a result somebody asks for (XEP-0059 §2).
package struct ResultSetRequest: Hashable, Sendable {
    package enum Page: Hashable, Sendable {
        case first
        /// The items that follow the one with this name. An empty name is before the first one.
        case after(String)
        /// The items just before the one with this name.
        case before(String)
        /// An empty `<before/>` (§2.5).
        case last
        /// The items from this place on, counted from 0 (§2.6).
        case index(Int)
    }

    package var page: Page
    /// The most items that are wanted; 0 asks only how many there are (§2.7).
    package var max: Int?

    package init(_ page: Page = .first, max: Int? = nil) {
        self.page = page
        self.max = max
    }

    /// Items of the page: as many as were asked for, within what the service allows.
    ///
    /// - Parameters:
    ///   - usual: where nothing was asked for.
    ///   - most: the service's limit.
    package func limit(usual: Int, most: Int) -> Int { min(max ?? usual, most) }
}

extension ResultSetRequest {
    /// Reads the `<set/>` among the children of a request; the first page if there is none.
    ///
    /// Throws `bad-request` for numbers that are none, for what is there twice, and for more than one place to begin at:
    /// the XEP leaves open what that would mean.
    package init(in request: ElementView) throws(StanzaError) {
        var found: ResultSetRequest?
        for child in request.children where child.isNamed("set", .resultSets) {
            guard found == nil else { throw .badRequest("a request asks for one page") }
            found = try ResultSetRequest(child)
        }
        self = found ?? ResultSetRequest()
    }

    package init(_ set: ElementView) throws(StanzaError) {
        self.init()
        var place: Page?
        for child in set.children where child.isIn(.resultSets) {
            if child.isNamed("max", .resultSets) {
                guard max == nil else { throw .badRequest("max is there twice") }
                max = try Self.number(child)
                continue
            }
            let name = child.text
            let next: Page
            if child.isNamed("after", .resultSets) { next = name.isEmpty ? .first : .after(name) }
            else if child.isNamed("before", .resultSets) { next = name.isEmpty ? .last : .before(name) }
            else if child.isNamed("index", .resultSets) { next = .index(try Self.number(child)) }
            else { continue }
            guard place == nil else { throw .badRequest("a page begins at one place") }
            place = next
        }
        page = place ?? .first
    }

    /// Decimal digits, as many as somebody likes: what is beyond an `Int` is as good as `Int.max`.
    private static func number(_ element: ElementView) throws(StanzaError) -> Int {
        let text = element.text
        guard !text.isEmpty, text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else {
            throw .badRequest("a number of items is written in digits")
        }
        return Int(text) ?? .max
    }
}

/// Which part of the whole a page is (XEP-0059 §2.1).
package struct ResultSetPage: Hashable, Sendable {
    /// The names of the page's first and last item; `nil` of an empty page (§2.4).
    package var first: String?
    package var last: String?
    /// The place of the first item in the whole, counted from 0, where that is known.
    package var index: Int?
    /// How many items there are in all, where that is known; it may be a guess.
    package var count: Int?

    package init(first: String? = nil, last: String? = nil, index: Int? = nil, count: Int? = nil) {
        self.first = first
        self.last = last
        self.index = index
        self.count = count
    }

    package func write(to writer: inout XMLWriter) {
        writer.element("set", .resultSets) { writer in
            if let first { writer.element("first", .resultSets, ["index": index.map(String.init)], text: first) }
            if let last { writer.element("last", .resultSets, text: last) }
            if let count { writer.element("count", .resultSets, text: String(count)) }
        }
    }
}

extension ResultSetRequest.Page {
    /// Whether a page that is too long loses what is at its end.
    package var countsForwards: Bool {
        switch self {
        case .first, .after, .index: true
        case .last, .before: false
        }
    }
}
