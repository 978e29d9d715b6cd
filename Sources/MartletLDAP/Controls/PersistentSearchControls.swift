/// A search that goes on with what changes (draft-ietf-ldapext-psearch-03 §4).
public struct PersistentSearchControl: TypedControl {
    public static var type: String { LDAPControlType.persistentSearch }

    public struct Changes: OptionSet, Hashable, Sendable {
        public let rawValue: Int32
        public init(rawValue: Int32) { self.rawValue = rawValue }

        public static let add = Self(rawValue: 1)
        public static let delete = Self(rawValue: 2)
        public static let modify = Self(rawValue: 4)
        public static let modifyDN = Self(rawValue: 8)
        public static let all: Self = [.add, .delete, .modify, .modifyDN]
    }
    public var changes: Changes
    /// Whether what there is already is left out.
    public var changesOnly: Bool
    /// Whether each entry comes with an ``EntryChangeControl``.
    public var returnsEntryChanges: Bool

    public init(_ changes: Changes = .all, changesOnly: Bool, returnsEntryChanges: Bool = true) {
        self.changes = changes
        self.changesOnly = changesOnly
        self.returnsEntryChanges = returnsEntryChanges
    }

    public init(value: [UInt8]?) throws(LDAPFault) {
        self = try BERReader.sequence(value) { content throws(LDAPFault) in
            Self(Changes(rawValue: try content.count()), changesOnly: try content.boolean(), returnsEntryChanges: try content.boolean())
        }
    }

    public var value: [UInt8]? {
        BERWriter.bytes {
            $0.constructed { content in
                content.integer(Int(changes.rawValue))
                content.boolean(changesOnly)
                content.boolean(returnsEntryChanges)
            }
        }
    }
}

/// What changed of an entry (draft-ietf-ldapext-psearch-03 §5).
public struct EntryChangeControl: TypedControl {
    public static var type: String { LDAPControlType.entryChangeNotification }

    public enum Change: Int, Hashable, Sendable {
        case add = 1
        case delete = 2
        case modify = 4
        case modifyDN = 8
    }
    public var change: Change
    /// Its name before that, if it changed.
    public var previousName: String?
    /// Of the server's own log of changes, if it has one.
    public var changeNumber: Int?

    public init(_ change: Change, previousName: String? = nil, changeNumber: Int? = nil) {
        self.change = change
        self.previousName = previousName
        self.changeNumber = changeNumber
    }

    public init(value: [UInt8]?) throws(LDAPFault) {
        self = try BERReader.sequence(value) { content throws(LDAPFault) in
            let change: Change = try content.enumerated()
            let previousName = content.isNext(BERTag.octetString) ? try content.name() : nil
            return Self(change, previousName: previousName, changeNumber: content.isNext(BERTag.integer) ? try content.integer(in: 0 ... .max) : nil)
        }
    }

    public var value: [UInt8]? {
        BERWriter.bytes {
            $0.constructed { content in
                content.enumerated(change.rawValue)
                if let previousName { content.string(previousName) }
                if let changeNumber { content.integer(changeNumber) }
            }
        }
    }
}
