package import MartletCore
import MartletXML
import MartletXMPP

/// What becomes of the people's data, as the operator says it (§3), in what the domain says of itself.
package struct DataPolicy: Feature {
    package static let specification = Specification.xep(504, "Data Policy", version: "0.1.0", note: "as the operator says it")
    package let disco: DiscoFeatures

    /// What the operator says. All of it may be missing; then nothing is said.
    package struct Statement: Hashable, Sendable {
        /// URI of the terms of service.
        package var terms: String?
        /// Who may see data: `admins`, `moderators`, `organization_member`, `government`, `advertisers`, `partners` or `none`.
        package var access: [String] = []
        package var isEncryptedAtRest: Bool?
        /// Hours between two backups at most; 0: there are none.
        package var backupHours: Int?
        /// Hours for which backups are kept; `nil`: it is not said.
        package var backupRetentionHours: Int?
        /// Hours for which messages are kept; `nil`: for ever.
        package var retentionHours: Int?
        /// Whether the server is told passwords as they are.
        package var seesPasswords = false
        /// Whether people can remove their accounts with everything in them.
        package var isErasable = false
        package init() {}

        fileprivate var isEmpty: Bool {
            terms == nil && access.isEmpty && isEncryptedAtRest == nil && backupHours == nil && backupRetentionHours == nil
        }
    }

    package init(_ statement: Statement) {
        disco = DiscoFeatures(hostForms: statement.isEmpty ? [] : [DiscoForm(type: "urn:xmpp:data-policy:0", fields: Self.fields(statement))])
    }

    private static func fields(_ statement: Statement) -> [DiscoForm.Field] {
        let said: [(String, [String], DiscoForm.Field.Kind)] = [
            ("auth_data", [statement.seesPasswords ? "plain" : "hidden"], .listSingle),
            ("data_retention", [statement.retentionHours.map(String.init) ?? "infinite"], .textSingle),
            ("full_erasure", [String(statement.isErasable)], .boolean),
            ("tos", statement.terms.map { [$0] } ?? [], .textSingle),
            ("access_policy", statement.access, .listMulti),
            ("encryption_at_rest", statement.isEncryptedAtRest.map { [String($0)] } ?? [], .boolean),
            ("backup_frequency", statement.backupHours.map { [String($0)] } ?? [], .textSingle),
            ("backup_retention", statement.backupRetentionHours.map { [String($0)] } ?? [], .textSingle),
        ]
        return said.compactMap { name, values, kind in values.isEmpty ? nil : DiscoForm.Field(name, values, kind) }
    }
}
