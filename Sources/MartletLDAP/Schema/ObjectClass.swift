/// What an entry of a kind has to have and may have (RFC 4512 §4.1.1).
public struct ObjectClass: Hashable, Sendable {
    public enum Kind: String, Hashable, Sendable {
        case abstract = "ABSTRACT"
        case structural = "STRUCTURAL"
        case auxiliary = "AUXILIARY"
    }
    public let oid: String
    public let name: String
    public let description: String?
    public let superior: String
    public let kind: Kind
    public let must: [String]
    public let may: [String]

    public init(
        _ oid: String, _ name: String, _ kind: Kind, superior: String = "top", must: [String] = [], may: [String] = [], description: String? = nil
    ) {
        self.oid = oid
        self.name = name
        self.description = description
        self.superior = superior
        self.kind = kind
        self.must = must
        self.may = may
    }
}
