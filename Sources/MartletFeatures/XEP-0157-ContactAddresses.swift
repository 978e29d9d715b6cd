package import MartletCore
import MartletXML
import MartletXMPP

/// Whom to turn to about the server, as URIs, in what it says of itself (§3, in a form of XEP-0128).
package struct ContactAddresses: Feature {
    package static let specification = Specification.xep(157, "Contact Addresses for XMPP Services", version: "1.1.1")

    /// By purpose: `mailto:`, `xmpp:` and `https:` URIs.
    package struct Addresses: Hashable, Sendable {
        package var abuse: [String] = []
        package var admin: [String] = []
        package var feedback: [String] = []
        package var sales: [String] = []
        package var security: [String] = []
        package var status: [String] = []
        package var support: [String] = []
        package init() {}
    }

    package let disco: DiscoFeatures

    package init(_ addresses: Addresses) {
        let fields = [
            ("abuse-addresses", addresses.abuse), ("admin-addresses", addresses.admin), ("feedback-addresses", addresses.feedback),
            ("sales-addresses", addresses.sales), ("security-addresses", addresses.security), ("status-addresses", addresses.status),
            ("support-addresses", addresses.support),
        ].compactMap { name, values in values.isEmpty ? nil : DiscoForm.Field(name, values, .listMulti) }
        let form = DiscoForm(type: "http://jabber.org/network/serverinfo", fields: fields)
        disco = DiscoFeatures(hostForms: fields.isEmpty ? [] : [form])
    }
}
