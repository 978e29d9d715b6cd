package import MartletCore
import MartletXML
import MartletXMPP

/// Where clients find what is wrong when the server cannot be reached: files on other machines, which the operator writes (§2).
package struct OutageStatus: Feature {
    package static let specification = Specification.xep(455, "Service Outage Status", version: "0.4.0", note: "where the file is; no messages")
    package let disco: DiscoFeatures

    /// - Parameter addresses: URIs of such files.
    package init(_ addresses: [String]) {
        let form = DiscoForm(type: "urn:xmpp:sos:0", fields: [.init("external-status-addresses", addresses, .listMulti)])
        disco = DiscoFeatures(hostForms: addresses.isEmpty ? [] : [form])
    }
}
