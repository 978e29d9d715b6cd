package import MartletLDAP

/// The entries of a search of any size, page by page (RFC 2696): a server gives so many at a time to most, and none has to keep what nobody has asked for yet.
///
/// A server that knows no pages gives all at once, and is read no faster than that either. Entries of which the server gives only a part of an attribute's
/// values are completed before they are given (``RangedEntry``), behind the others of their page. Ends with ``DirectoryFailure/refused(_:)`` if the server
/// ends it with another result than success.
package struct PagedSearch: AsyncSequence, Sendable {
    package typealias Element = LDAPEntry
    package typealias Failure = DirectoryFailure

    /// Entries of a page: what slapd, 389 Directory Server and Active Directory (1,000) all give without being configured.
    package static let pageSize: Int32 = 500

    private let connection: LDAPConnection
    private let request: SearchRequest
    private let controls: [LDAPControl]
    private let pageSize: Int32

    init(_ connection: LDAPConnection, _ request: SearchRequest, _ controls: [LDAPControl], pageSize: Int32) {
        precondition(pageSize > 0, "a page has an entry")
        (self.connection, self.request, self.controls, self.pageSize) = (connection, request, controls, pageSize)
    }

    package func makeAsyncIterator() -> Iterator { Iterator(pages: self) }

    package struct Iterator: AsyncIteratorProtocol {
        private enum State {
            /// Behind the cookie; at first it is empty.
            case between(cookie: [UInt8])
            case page(LDAPSearch.Iterator)
            /// All of it has come.
            case over
        }

        private let pages: PagedSearch
        private var state = State.between(cookie: [])
        /// Of the page: on the same connection nothing else would be read while it is under way and nobody looks at it.
        private var incomplete: [LDAPEntry] = []

        fileprivate init(pages: PagedSearch) { self.pages = pages }

        package mutating func next(isolation actor: isolated (any Actor)? = #isolation) async throws(DirectoryFailure) -> LDAPEntry? {
            while true {
                switch state {
                case .page(var items):
                    let item = try await items.next(isolation: actor)
                    state = .page(items)
                    if let entry = try take(item) { return entry }
                case .between, .over:
                    if let entry = incomplete.popLast() { return try await pages.connection.completed(entry) }
                    guard case .between(let cookie) = state else { return nil }
                    state = .page(try await pages.page(after: cookie).makeAsyncIterator())
                }
            }
        }

        private mutating func take(_ item: SearchItem?) throws(DirectoryFailure) -> LDAPEntry? {
            switch item {
            case .entry(let entry, _) where !RangedEntry.hasParts(entry): return entry
            case .entry(let entry, _): incomplete.append(entry)
            case .intermediate: break
            case .done(let result, let controls):
                let cookie = try PagedSearch.cookie(controls)
                state = cookie.isEmpty || result.code != .success ? .over : .between(cookie: cookie)
                guard result.code == .success else { throw .refused(result) }
            case nil: state = .over
            }
            return nil
        }
    }

    private func page(after cookie: [UInt8]) async throws(DirectoryFailure) -> LDAPSearch {
        let page = PagedResultsControl(size: pageSize, cookie: cookie).control(isCritical: false)
        return try await connection.search(request, controls: controls + [page])
    }

    /// Empty if there is no more, or the server knows no pages.
    private static func cookie(_ controls: [LDAPControl]) throws(DirectoryFailure) -> [UInt8] {
        do throws(LDAPFault) {
            return try controls.first(of: PagedResultsControl.self)?.cookie ?? []
        } catch {
            throw .violation(.malformed(error))
        }
    }
}

extension LDAPConnection {
    /// A search of any size.
    package func pages(of request: SearchRequest, controls: [LDAPControl] = [], pageSize: Int32 = PagedSearch.pageSize) -> PagedSearch {
        PagedSearch(self, request, controls, pageSize: pageSize)
    }
}
