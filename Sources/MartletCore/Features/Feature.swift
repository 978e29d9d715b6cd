package import MartletXML
import MartletXMPP

/// One protocol extension, or one part of an RFC. The protocols it conforms to are the complete list of what it touches.
///
/// What a feature advertises and what it handles come from the same value: `disco` and the stages and routes it conforms to.
package protocol Feature: Sendable {
    static var specification: Specification { get }
    /// What service discovery announces for the domain and for its accounts (XEP-0030).
    var disco: DiscoFeatures { get }
}

extension Feature {
    package var disco: DiscoFeatures { DiscoFeatures() }
    package var specification: Specification { Self.specification }
}

package struct DiscoFeatures: Sendable {
    package var host: [Namespace]
    package var account: [Namespace]
    /// Features whose names are no namespaces of their own.
    package var hostNames: [String] = []
    package var accountNames: [String] = []
    /// What accounts are besides accounts.
    package var accountIdentities: [DiscoIdentity] = []
    /// Forms in what the domain says of itself (XEP-0128).
    package var hostForms: [DiscoForm]
    package init(host: [Namespace] = [], account: [Namespace] = [], hostForms: [DiscoForm] = []) {
        self.host = host
        self.account = account
        self.hostForms = hostForms
    }
    package static func everywhere(_ namespaces: Namespace...) -> DiscoFeatures { DiscoFeatures(host: namespaces, account: namespaces) }
}

/// Who somebody says he is in a service discovery answer (XEP-0030 §3.1).
package struct DiscoIdentity: Hashable, Sendable {
    package var category: String
    package var type: String
    package var name: String?
    /// `xml:lang` of the name.
    package var language: String?
    package init(_ category: String, _ type: String, name: String? = nil, language: String? = nil) {
        self.category = category
        self.type = type
        self.name = name
        self.language = language
    }
}

/// Further information in a service discovery answer (XEP-0128): a form of type `result`.
package struct DiscoForm: Hashable, Sendable {
    package struct Field: Hashable, Sendable {
        /// How its values are to be read (XEP-0004 §3.3). There are clients that look for a size only where one value may be, and for
        /// addresses only where there may be many.
        package enum Kind: String, Hashable, Sendable, CaseIterable {
            case boolean
            case jidMulti = "jid-multi"
            case jidSingle = "jid-single"
            case listMulti = "list-multi"
            case listSingle = "list-single"
            case textMulti = "text-multi"
            case textSingle = "text-single"
        }

        package var name: String
        package var values: [String]
        package var kind: Kind
        package init(_ name: String, _ values: [String], _ kind: Kind = .textSingle) {
            self.name = name
            self.values = values
            self.kind = kind
        }
    }
    /// The value of the hidden field `FORM_TYPE` (XEP-0068).
    package var type: String
    package var fields: [Field]
    package init(type: String, fields: [Field]) {
        self.type = type
        self.fields = fields
    }
}

/// What a feature implements, for `martlet features`, the feature list in the documentation and the DOAP file.
package struct Specification: Hashable, Sendable {
    package enum Series: String, Hashable, Sendable { case rfc = "RFC", xep = "XEP" }
    package var series: Series
    package var number: Int
    package var title: String
    /// The version of a XEP, or the sections of an RFC.
    package var version: String
    /// What is left out or special, in a few words.
    package var note: String?

    package static func xep(_ number: Int, _ title: String, version: String, note: String? = nil) -> Specification {
        Specification(series: .xep, number: number, title: title, version: version, note: note)
    }
    package static func rfc(_ number: Int, _ title: String, sections: String, note: String? = nil) -> Specification {
        Specification(series: .rfc, number: number, title: title, version: sections, note: note)
    }
}

/// Adds to the stream features that a client sees after authentication (RFC 6120 §4.3.2).
package protocol StreamFeatureProvider: Feature {
    func writeStreamFeatures(to writer: inout XMLWriter, of host: Host)
}
