import ArgumentParser
import MartletCore
import MartletFeatures

struct FeaturesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "features", abstract: "List the specifications that this server implements.")

    enum Format: String, ExpressibleByArgument, CaseIterable { case text, markdown, doap }
    @Option(help: "One of text, markdown, doap.") var format = Format.text

    func run() async throws {
        let time = SystemClock()
        let configuration = FeatureConfiguration(softwareVersion: MartletVersion.current, time: time, uptime: Uptime(time))
        let list = FeatureList(features: StandardFeatures.all(configuration))
        switch format {
        case .text: print(list.text, terminator: "")
        case .markdown: print(list.markdown, terminator: "")
        case .doap: print(list.doap, terminator: "")
        }
    }
}
