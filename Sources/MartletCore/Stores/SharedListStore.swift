/// A shared block list as it was last known, so that it is in force before whoever shares it can be reached.
package struct StoredSharedList: Hashable, Sendable {
    package var name: SharedListName
    /// When all of it was fetched, in milliseconds since 1970.
    package var fetched: Int64
    package var entries: Set<SharedListEntry>

    package init(name: SharedListName, fetched: Int64, entries: Set<SharedListEntry>) {
        self.name = name
        self.fetched = fetched
        self.entries = entries
    }
}

package enum SharedListChange: Hashable, Sendable {
    case replace(StoredSharedList)
    /// Nothing happens if there is no such list.
    ///
    /// - Parameter fetched: when all of it was seen, if it was.
    case change(SharedListName, adding: Set<SharedListEntry>, removing: Set<SharedListEntry>, fetched: Int64?)
    case forget(SharedListName)
}

package protocol SharedListStore: Sendable {
    /// All lists, in no order, including whatever was submitted before the call.
    func sharedLists() async throws(StoreError) -> [StoredSharedList]
}

/// The same as plain values.
package struct SharedListContents: Sendable {
    package private(set) var all: [SharedListName: StoredSharedList] = [:]

    package init() {}

    mutating func apply(_ change: SharedListChange) {
        switch change {
        case .replace(let list): all[list.name] = list
        case .change(let name, let added, let removed, let fetched):
            if let fetched { all[name]?.fetched = fetched }
            all[name]?.entries.subtract(removed)
            all[name]?.entries.formUnion(added)
        case .forget(let name): all[name] = nil
        }
    }
}
